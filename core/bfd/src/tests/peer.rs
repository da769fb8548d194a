//! One configured session and a peer that says what the test wants.

use super::*;

pub(super) struct Scene {
    pub(super) sessions: Sessions,
    pub(super) now: Time,
    pub(super) says: Packet,
}

impl Scene {
    pub(super) fn new(config: Config) -> Self {
        let mut sessions = Sessions::new(IdSource::new(1));
        let now = Time(1000);
        handle(&mut sessions, now, vec![Input::Configure { session: ID, config }]);
        let says = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Down,
            handshake: Handshake::None,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: times(3),
            my_discriminator: discriminator(0xb0b),
            your_discriminator: None,
            desired_min_tx_us: 100_000,
            required_min_rx_us: 100_000,
            required_min_echo_rx_us: 0,
        };
        Self { sessions, now, says }
    }

    /// Brought to a state by the shortest way.
    pub(super) fn in_state(config: Config, state: State) -> Self {
        let mut scene = Self::new(config);
        match state {
            State::AdminDown => {
                scene.input(Input::AdminDown { session: ID, diagnostic: Diagnostic::ADMINISTRATIVELY_DOWN });
            }
            State::Down => {}
            State::Init => {
                scene.hear(State::Down);
            }
            State::Up => {
                scene.hear(State::Down);
                scene.hear(State::Init);
            }
        }
        assert_eq!(scene.session().state(), state);
        scene
    }

    pub(super) fn session(&self) -> &Session {
        self.sessions.get(ID).unwrap()
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        handle(&mut self.sessions, self.now, vec![input])
    }

    pub(super) fn arrival(&self, packet: Packet) -> Arrival {
        let Config { path, .. } = config(Role::Active);
        Arrival { at: self.now, path, ttl: 250, content: Ok(Decoded { packet, auth: None }) }
    }

    pub(super) fn packet(&mut self, packet: Packet) -> Vec<Effect> {
        self.input(Input::Received(self.arrival(packet)))
    }

    /// The peer says its state, and from Init on whom it talks to.
    pub(super) fn hear(&mut self, state: State) -> Vec<Effect> {
        let known = matches!(state, State::Init | State::Up);
        let your_discriminator = known.then(|| self.session().discriminator());
        self.packet(Packet { state, your_discriminator, ..self.says })
    }

    pub(super) fn hear_with(&mut self, handshake: Handshake) -> Vec<Effect> {
        let your_discriminator = Some(self.session().discriminator());
        self.packet(Packet { state: State::Up, handshake, your_discriminator, ..self.says })
    }

    /// Time passes, and every deadline is met on the millisecond.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<(Time, Effect)> {
        let end = self.now.after_ms(ms);
        let mut out = Vec::new();
        while let Some((at, _)) = self.sessions.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = at;
            out.extend(handle(&mut self.sessions, at, vec![]).into_iter().map(|effect| (at, effect)));
        }
        self.now = end;
        out
    }
}

pub(super) fn effects(timed: &[(Time, Effect)]) -> Vec<Effect> {
    timed.iter().map(|(_, effect)| *effect).collect()
}
