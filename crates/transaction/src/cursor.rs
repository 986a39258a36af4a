//! What clients hold and can't forge or move: positions in paginated queries, and the right to upload a file.

use std::{fmt, sync::Arc};

use aes_gcm_siv::{
    Aes256GcmSiv, Nonce,
    aead::{Aead, KeyInit, Payload},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use contract::DeploymentRef;
use value::ComponentId;

use crate::{Error, Result};

/// The first byte of every cursor, journal and upload token. Another one is refused.
const VERSION: u8 = 1;

/// What makes cursors, journals and upload tokens of a deployment: a secret, the same on every node.
///
/// The encryption is deterministic (AES-GCM-SIV under a fixed nonce is, and stays safe), because a cursor is an
/// argument of the next page's query: equal queries must have equal arguments to share a result.
#[derive(Clone)]
pub struct CursorKey {
    cipher: Arc<Aes256GcmSiv>,
}

/// Where a page ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CursorPosition {
    /// Behind the row with this index key, in the order of the query.
    After(Bytes),
    /// Nothing follows.
    End,
}

/// A hash of everything that makes a query: positions of one query mean nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 16]);

/// What the text is, so that one can't be passed off as the other.
#[derive(Clone, Copy)]
enum Purpose {
    Cursor = 1,
    Journal = 2,
    Upload = 3,
    Export = 4,
}

/// The right to upload files, as an upload URL holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadGrant {
    /// Whose files they are.
    pub component: ComponentId,
    /// When it was given; milliseconds since the Unix epoch.
    pub issued_ms: u64,
}

impl CursorKey {
    /// The key that is derived from this secret, the same for all who have it.
    pub fn new(secret: &[u8; 32]) -> CursorKey {
        CursorKey { cipher: Arc::new(Aes256GcmSiv::new(secret.into())) }
    }

    pub(crate) fn encode_cursor(
        &self,
        deployment: DeploymentRef,
        fingerprint: Fingerprint,
        position: &CursorPosition,
    ) -> String {
        self.seal(Purpose::Cursor, deployment, fingerprint, position)
    }

    /// The position of a cursor of the query with this fingerprint.
    pub(crate) fn decode_cursor(
        &self,
        deployment: DeploymentRef,
        fingerprint: Fingerprint,
        cursor: &str,
    ) -> Result<CursorPosition> {
        let (of, position) = self.open(Purpose::Cursor, deployment, cursor)?;
        if of != fingerprint {
            return Err(Error::invalid_cursor("the cursor is of another query; start from the first page"));
        }
        Ok(position)
    }

    pub(crate) fn encode_journal(
        &self,
        deployment: DeploymentRef,
        fingerprint: Fingerprint,
        end: &CursorPosition,
    ) -> String {
        self.seal(Purpose::Journal, deployment, fingerprint, end)
    }

    /// The query that a journal is of, and where its page ended.
    pub(crate) fn decode_journal(
        &self,
        deployment: DeploymentRef,
        journal: &str,
    ) -> Result<(Fingerprint, CursorPosition)> {
        self.open(Purpose::Journal, deployment, journal)
    }

    /// The token of an upload URL.
    pub fn upload_token(&self, deployment: DeploymentRef, grant: UploadGrant) -> String {
        let plain = [&grant.issued_ms.to_be_bytes(), grant.component.to_string().as_bytes()].concat();
        hex::encode(self.encrypt(Purpose::Upload, deployment, &plain))
    }

    /// What a token of an upload URL of this deployment grants; `None` if it is none.
    pub fn open_upload_token(&self, deployment: DeploymentRef, token: &str) -> Option<UploadGrant> {
        let plain = self.decrypt(Purpose::Upload, deployment, &hex::decode(token).ok()?)?;
        let (issued_ms, component) = plain.split_first_chunk()?;
        let component = std::str::from_utf8(component).ok()?.parse().ok()?;
        Some(UploadGrant { component, issued_ms: u64::from_be_bytes(*issued_ms) })
    }

    /// A cursor of somebody who copies a deployment's data: whatever it says comes back unchanged.
    pub fn seal_export(&self, deployment: DeploymentRef, plain: &[u8]) -> String {
        // It may hold something of each table.
        BASE64_URL_SAFE_NO_PAD.encode(self.encrypt(Purpose::Export, deployment, plain))
    }

    /// What such a cursor of this deployment says; `None` if it is none.
    pub fn open_export(&self, deployment: DeploymentRef, cursor: &str) -> Option<Vec<u8>> {
        self.decrypt(Purpose::Export, deployment, &BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?)
    }

    fn seal(
        &self,
        purpose: Purpose,
        deployment: DeploymentRef,
        fingerprint: Fingerprint,
        position: &CursorPosition,
    ) -> String {
        let mut plain = fingerprint.0.to_vec();
        match position {
            CursorPosition::End => plain.push(0),
            CursorPosition::After(key) => {
                plain.push(1);
                plain.extend_from_slice(key);
            }
        }
        hex::encode(self.encrypt(purpose, deployment, &plain))
    }

    fn encrypt(&self, purpose: Purpose, deployment: DeploymentRef, plain: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad: &associated_data(purpose, deployment) };
        let sealed = self
            .cipher
            .encrypt(&Nonce::default(), payload)
            .expect("only 2^36 bytes are too long for the cipher");
        [&[VERSION], &sealed[..]].concat()
    }

    fn decrypt(&self, purpose: Purpose, deployment: DeploymentRef, bytes: &[u8]) -> Option<Vec<u8>> {
        let Some((&VERSION, sealed)) = bytes.split_first() else { return None };
        let payload = Payload { msg: sealed, aad: &associated_data(purpose, deployment) };
        self.cipher.decrypt(&Nonce::default(), payload).ok()
    }

    fn open(
        &self,
        purpose: Purpose,
        deployment: DeploymentRef,
        text: &str,
    ) -> Result<(Fingerprint, CursorPosition)> {
        let invalid = || Error::invalid_cursor("the cursor can't be read; start from the first page");
        let bytes = hex::decode(text).map_err(|_| invalid())?;
        let plain = self.decrypt(purpose, deployment, &bytes).ok_or_else(invalid)?;
        let (fingerprint, rest) = plain.split_first_chunk().ok_or_else(invalid)?;
        let position = match rest.split_first() {
            Some((0, [])) => CursorPosition::End,
            Some((1, key)) => CursorPosition::After(Bytes::copy_from_slice(key)),
            _ => return Err(invalid()),
        };
        Ok((Fingerprint(*fingerprint), position))
    }
}

/// The group is left out, so that cursors outlive a move of the deployment.
fn associated_data(purpose: Purpose, deployment: DeploymentRef) -> [u8; 6] {
    let [a, b, c, d] = deployment.deployment.0.to_be_bytes();
    [VERSION, purpose as u8, a, b, c, d]
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CursorKey")
    }
}

#[cfg(test)]
mod tests {
    use contract::{DeploymentId, GroupId};

    use super::*;

    const FINGERPRINT: Fingerprint = Fingerprint([7; 16]);

    fn deployment(number: u32) -> DeploymentRef {
        DeploymentRef { group: GroupId(1), deployment: DeploymentId(number) }
    }

    #[test]
    fn positions_come_back_and_equal_ones_have_equal_text() {
        let key = CursorKey::new(&[1; 32]);
        for position in [CursorPosition::End, CursorPosition::After(Bytes::from_static(b"key"))] {
            let cursor = key.encode_cursor(deployment(1), FINGERPRINT, &position);
            assert_eq!(cursor, key.encode_cursor(deployment(1), FINGERPRINT, &position));
            assert_eq!(key.decode_cursor(deployment(1), FINGERPRINT, &cursor).unwrap(), position);
            let journal = key.encode_journal(deployment(1), FINGERPRINT, &position);
            assert_eq!(key.decode_journal(deployment(1), &journal).unwrap(), (FINGERPRINT, position));
        }
    }

    #[test]
    fn an_upload_token_is_of_one_deployment_and_component_and_nothing_else_is_one() {
        let key = CursorKey::new(&[1; 32]);
        for component in [ComponentId::ROOT, value::InternalId::from_bytes([7; 16]).into()] {
            let grant = UploadGrant { component, issued_ms: 1_700_000_000_000 };
            let token = key.upload_token(deployment(1), grant);
            assert_eq!(key.open_upload_token(deployment(1), &token), Some(grant));
            assert_eq!(key.open_upload_token(deployment(2), &token), None);
            assert_eq!(CursorKey::new(&[2; 32]).open_upload_token(deployment(1), &token), None);
            for position in 0..token.len() {
                let mut changed = token.clone().into_bytes();
                changed[position] = if changed[position] == b'0' { b'1' } else { b'0' };
                let changed = std::str::from_utf8(&changed).unwrap();
                assert_eq!(key.open_upload_token(deployment(1), changed), None);
                assert_eq!(key.open_upload_token(deployment(1), &token[..position]), None);
            }
        }
        let cursor = key.encode_cursor(deployment(1), FINGERPRINT, &CursorPosition::End);
        assert_eq!(key.open_upload_token(deployment(1), &cursor), None);
    }

    #[test]
    fn whatever_is_not_exactly_this_cursor_is_refused() {
        let key = CursorKey::new(&[1; 32]);
        let position = CursorPosition::After(Bytes::from_static(b"key"));
        let cursor = key.encode_cursor(deployment(1), FINGERPRINT, &position);
        let refused = |result: Result<CursorPosition>| {
            let Err(Error::User(error)) = result else { panic!("accepted: {result:?}") };
            assert_eq!(error.code, "InvalidCursor");
            let data = error.data.expect("clients look at it").to_json();
            assert_eq!(data, r#"{"isConvexSystemError":true,"paginationError":"InvalidCursor"}"#);
        };
        refused(key.decode_cursor(deployment(2), FINGERPRINT, &cursor));
        refused(key.decode_cursor(deployment(1), Fingerprint([8; 16]), &cursor));
        refused(CursorKey::new(&[2; 32]).decode_cursor(deployment(1), FINGERPRINT, &cursor));
        refused(key.decode_cursor(deployment(1), FINGERPRINT, ""));
        refused(key.decode_cursor(deployment(1), FINGERPRINT, "null"));
        refused(key.decode_cursor(deployment(1), FINGERPRINT, &cursor[..cursor.len() - 2]));
        let journal = key.encode_journal(deployment(1), FINGERPRINT, &position);
        refused(key.decode_cursor(deployment(1), FINGERPRINT, &journal));
        for position in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[position] = if changed[position] == b'0' { b'1' } else { b'0' };
            refused(key.decode_cursor(deployment(1), FINGERPRINT, std::str::from_utf8(&changed).unwrap()));
        }
    }
}
