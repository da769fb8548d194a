//! Telling the service manager that the daemon is ready.

use std::os::unix::net::UnixDatagram;

/// Sends `READY=1` to `$NOTIFY_SOCKET` (sd_notify(3)), as systemd units of type `notify` expect. Does nothing
/// where there is no such variable; a failure is logged and otherwise ignored.
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", &path));
    match sent {
        Ok(_) => tracing::debug!("told the service manager that this daemon is ready"),
        Err(error) => tracing::warn!(socket = %path.display(), %error, "cannot notify the service manager"),
    }
}
