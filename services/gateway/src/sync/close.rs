//! Why a socket is closed, as its peer learns it.

use axum::extract::ws::close_code;
use contract::ErrorKind;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::error::public_message;

/// A close code and a reason. Clients match the beginning of the reason to choose how long they wait before they come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub code: u16,
    pub reason: String,
}

impl Close {
    /// The server stops; the client finds another one, or this one again.
    pub(super) fn shutting_down() -> Close {
        Close { code: close_code::AGAIN, reason: "ServerShuttingDown".to_owned() }
    }

    /// A newer connection has the same session id, so this one is dead at its other end.
    pub(super) fn superseded() -> Close {
        Close { code: close_code::NORMAL, reason: "SessionSuperseded".to_owned() }
    }

    /// The client has not read or written anything for too long.
    pub(super) fn silent() -> Close {
        Close { code: close_code::AWAY, reason: "InactiveClient".to_owned() }
    }

    /// The client did what the protocol does not know, other than with its version numbers.
    pub(super) fn violation(reason: impl std::fmt::Display) -> Close {
        Close { code: close_code::PROTOCOL, reason: format!("ProtocolViolation: {reason}") }
    }

    /// The client has sent more at once than a message may have.
    pub(super) fn too_large(bytes: usize, bytes_max: usize) -> Close {
        let reason = format!("MessageTooLarge: a message of {bytes} bytes, where {bytes_max} are allowed");
        Close { code: close_code::SIZE, reason }
    }

    pub(super) fn after(error: &contract::Error) -> Close {
        let code = match error.kind {
            ErrorKind::TooManyRequests
            | ErrorKind::Overloaded
            | ErrorKind::Conflict
            | ErrorKind::OutOfRetention => close_code::AGAIN,
            ErrorKind::Internal => close_code::ERROR,
            ErrorKind::BadRequest
            | ErrorKind::Unauthenticated
            | ErrorKind::Forbidden
            | ErrorKind::NotFound => close_code::NORMAL,
        };
        Close { code, reason: format!("{}: {}", error.code, public_message(error)) }
    }

    /// The reason is cut at the limit, which the WebSocket standard sets.
    pub(super) fn into_frame(self, reason_bytes_max: usize) -> CloseFrame {
        let end = self.reason.floor_char_boundary(reason_bytes_max);
        CloseFrame { code: self.code.into(), reason: self.reason[..end].into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_says_try_again_and_begins_with_its_code() {
        let close = Close::after(&contract::Error::overloaded("ExpiredInQueue", "too much to do"));
        assert_eq!((close.code, close.reason.as_str()), (1013, "ExpiredInQueue: too much to do"));
    }

    #[test]
    fn defects_are_not_shown() {
        let close = Close::after(&contract::Error::internal("the secret detail"));
        assert_eq!(close.code, 1011);
        assert!(
            close.reason.starts_with("InternalServerError: ") && !close.reason.contains("secret"),
            "{close:?}"
        );
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let frame = Close { code: 1000, reason: "é".repeat(100) }.into_frame(123);
        assert_eq!(frame.reason.as_str(), "é".repeat(61));
    }
}
