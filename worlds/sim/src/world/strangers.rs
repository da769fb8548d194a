//! Strangers on ZMQ connections: who connects to a DPU's haorchd and is no hamgrd, and who listens in its place.

use zmq::LinkEvent;

use super::*;
use crate::client::strange_pieces;
use crate::faults::Speech;

impl World {
    /// Somebody connects to a DPU's haorchd, says something, and leaves after a while.
    pub(crate) fn visit(&mut self, dpu: DpuRef, speech: Speech, stay: Micros) {
        let listening = self.consumer_of(dpu).filter(|(_, consumer)| consumer.is_listening);
        let Some(consumer) = listening.map(|(id, _)| id).filter(|_| self.passes(dpu)) else { return };
        let wire = self.new_wire(dpu, None, Some(consumer));
        for piece in strange_pieces(speech, "PUSH", &mut self.rng) {
            self.transmit(wire, End::Producer, &piece);
        }
        self.after(stay, Ev::StrangerLeaves(wire));
    }

    /// A visitor leaves, whether it has said everything or not.
    pub(crate) fn stranger_leaves(&mut self, wire: WireId) {
        self.end_wire(wire, End::Producer, true);
    }

    /// Somebody listens where haorchd does, from now on.
    pub(crate) fn impersonate(&mut self, dpu: DpuRef, speech: Speech) {
        self.impostors.insert(dpu, speech);
    }

    /// He does no longer.
    pub(crate) fn impostor_ends(&mut self, dpu: DpuRef) {
        self.impostors.remove(&dpu);
        for wire in self.wires_of(dpu) {
            if self.wires.get(&wire).is_some_and(Wire::is_of_impostor) {
                self.end_wire(wire, End::Consumer, true);
            }
        }
    }

    /// hamgrd has connected to an impostor, who says something, and may leave it at that.
    pub(super) fn greet_falsely(&mut self, wire: WireId, dpu: DpuRef) {
        let Some(speech) = self.impostors.get(&dpu).copied() else { return };
        for piece in strange_pieces(speech, "PULL", &mut self.rng) {
            self.transmit(wire, End::Consumer, &piece);
        }
        if self.rng.chance(300) {
            let hard = self.rng.chance(500);
            self.end_wire(wire, End::Consumer, hard);
        }
    }

    /// haorchd takes in what came on a connection. What a stranger says concerns nothing but his own connection.
    pub(super) fn received_by_consumer(
        &mut self,
        client: ClientId,
        wire: WireId,
        is_strange: bool,
        bytes: Vec<u8>,
    ) {
        let now = self.now;
        let Some(consumer) = self.consumer(client) else { return };
        let before = is_strange.then(|| consumer.all_but(wire));
        consumer.received(now, wire, bytes);
        let after = is_strange.then(|| consumer.all_but(wire));
        if before != after {
            self.checks.fail(format!("P1 a stranger changes what haorchd has: {before:?}, then {after:?}"));
        }
    }

    /// hamgrd takes in what came on its connection. What an impostor says acknowledges nothing.
    pub(super) fn received_by_producer(
        &mut self,
        client: ClientId,
        wire: WireId,
        is_strange: bool,
        bytes: Vec<u8>,
    ) {
        let now = self.now;
        let Some(producer) = self.producer(client).filter(|producer| producer.wire == Some(wire)) else {
            return;
        };
        let before = producer.acknowledged;
        producer.tell_link(now, LinkEvent::Received(bytes));
        if is_strange && producer.acknowledged != before {
            self.checks.fail("P1 hamgrd takes an impostor's word for haorchd's".to_owned());
        }
    }
}
