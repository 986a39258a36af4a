//! AES in its modes: CBC, CTR, GCM, and KW for keys.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes192, Aes256};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

use crate::{CryptoRng, Error};

const BLOCK_BYTES: usize = 16;
type Block = [u8; BLOCK_BYTES];

/// How long a key for AES is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AesLength {
    Bits128,
    Bits192,
    Bits256,
}

impl AesLength {
    pub fn from_bits(bits: u32) -> Result<AesLength, Error> {
        match bits {
            128 => Ok(AesLength::Bits128),
            192 => Ok(AesLength::Bits192),
            256 => Ok(AesLength::Bits256),
            _ => Err(Error::Operation("a key for AES has 128, 192 or 256 bits")),
        }
    }
}

/// A key for AES, whatever the mode.
#[derive(Clone, PartialEq, Eq)]
pub enum AesKey {
    Bits128([u8; 16]),
    Bits192([u8; 24]),
    Bits256([u8; 32]),
}

impl std::fmt::Debug for AesKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AesKey({} bits)", self.as_bytes().len() * 8)
    }
}

/// How many bits at the end of a counter block count: 1 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterBits(u32);

impl CounterBits {
    pub fn new(bits: u32) -> Result<CounterBits, Error> {
        match bits {
            1..=128 => Ok(CounterBits(bits)),
            _ => Err(Error::Operation("the counter of AES-CTR has 1 to 128 bits")),
        }
    }

    /// Ones where a block counts.
    fn mask(self) -> u128 {
        u128::MAX >> (128 - self.0)
    }
}

/// How long the tag of GCM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagLength(usize);

impl TagLength {
    /// The whole tag: what one gets without asking.
    pub const FULL: TagLength = TagLength(BLOCK_BYTES);

    pub fn from_bits(bits: u32) -> Result<TagLength, Error> {
        match bits {
            32 | 64 | 96 | 104 | 112 | 120 | 128 => Ok(TagLength(bits as usize / 8)),
            _ => Err(Error::Operation("the tag of AES-GCM has 32, 64, 96, 104, 112, 120 or 128 bits")),
        }
    }
}

/// Parameters of GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcm<'p> {
    /// Never the same twice with one key.
    pub iv: &'p [u8],
    /// What the tag protects without being a part of the message.
    pub additional_data: &'p [u8],
    pub tag: TagLength,
}

/// Evaluates `$body` with `$Aes` being the cipher of that key's length, and `$bytes` the key.
macro_rules! with_cipher {
    ($key:expr, $Aes:ident, $bytes:ident => $body:expr) => {
        match $key {
            AesKey::Bits128($bytes) => {
                type $Aes = Aes128;
                $body
            }
            AesKey::Bits192($bytes) => {
                type $Aes = Aes192;
                $body
            }
            AesKey::Bits256($bytes) => {
                type $Aes = Aes256;
                $body
            }
        }
    };
}

impl AesKey {
    pub fn from_bytes(bytes: &[u8]) -> Result<AesKey, Error> {
        let wrong_length = |_| Error::Data("a key for AES has 16, 24 or 32 bytes");
        match bytes.len() {
            16 => bytes.try_into().map(AesKey::Bits128).map_err(wrong_length),
            24 => bytes.try_into().map(AesKey::Bits192).map_err(wrong_length),
            _ => bytes.try_into().map(AesKey::Bits256).map_err(wrong_length),
        }
    }

    pub fn generate<R: CryptoRng + ?Sized>(length: AesLength, random: &mut R) -> AesKey {
        let mut key = match length {
            AesLength::Bits128 => AesKey::Bits128([0; 16]),
            AesLength::Bits192 => AesKey::Bits192([0; 24]),
            AesLength::Bits256 => AesKey::Bits256([0; 32]),
        };
        match &mut key {
            AesKey::Bits128(bytes) => random.fill_bytes(bytes),
            AesKey::Bits192(bytes) => random.fill_bytes(bytes),
            AesKey::Bits256(bytes) => random.fill_bytes(bytes),
        }
        key
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            AesKey::Bits128(bytes) => bytes,
            AesKey::Bits192(bytes) => bytes,
            AesKey::Bits256(bytes) => bytes,
        }
    }

    /// CBC with the padding of PKCS #7.
    pub fn encrypt_cbc(&self, iv: &Block, message: &[u8]) -> Vec<u8> {
        with_cipher!(self, Aes, key => {
            cbc::Encryptor::<Aes>::new(key.into(), iv.into()).encrypt_padded_vec::<Pkcs7>(message)
        })
    }

    /// Fails if the padding is not one, in which case the key or the bytes are wrong. That it does not fail proves
    /// nothing.
    pub fn decrypt_cbc(&self, iv: &Block, encrypted: &[u8]) -> Result<Vec<u8>, Error> {
        with_cipher!(self, Aes, key => {
            cbc::Decryptor::<Aes>::new(key.into(), iv.into()).decrypt_padded_vec::<Pkcs7>(encrypted)
        })
        .map_err(|_| Error::Operation("AES-CBC can't decrypt this with that key"))
    }

    /// CTR; it decrypts what it has encrypted. Of `counter` the last `bits` count, and begin again at zero after ones.
    /// Fails where a block would come twice.
    pub fn apply_ctr(&self, counter: &Block, bits: CounterBits, message: &[u8]) -> Result<Vec<u8>, Error> {
        let blocks = message.len().div_ceil(BLOCK_BYTES) as u128;
        if blocks.saturating_sub(1) > bits.mask() {
            return Err(Error::Operation("the counter of AES-CTR is too short for that many blocks"));
        }
        let first = u128::from_be_bytes(*counter);
        let blocks_before_zero = (bits.mask() - (first & bits.mask())).saturating_add(1);
        let bytes_before_zero = match blocks_before_zero < blocks {
            true => blocks_before_zero as usize * BLOCK_BYTES,
            false => message.len(),
        };
        let mut output = message.to_vec();
        let (before, after) = output.split_at_mut(bytes_before_zero);
        let zero = (first & !bits.mask()).to_be_bytes();
        with_cipher!(self, Aes, key => {
            ctr::Ctr128BE::<Aes>::new(key.into(), counter.into()).apply_keystream(before);
            ctr::Ctr128BE::<Aes>::new(key.into(), (&zero).into()).apply_keystream(after);
        });
        Ok(output)
    }

    /// GCM: the encrypted message, followed by its tag.
    pub fn encrypt_gcm(&self, parameters: &Gcm<'_>, message: &[u8]) -> Result<Vec<u8>, Error> {
        check_iv(parameters.iv)?;
        let mut output = message.to_vec();
        let tag = with_cipher!(self, Aes, key => {
            let mut mode = GcmMode::<Aes>::new(&Aes::new(key.into()), key.into(), parameters.iv);
            mode.keystream.apply_keystream(&mut output);
            mode.tag(parameters.additional_data, &output)
        });
        output.extend_from_slice(&tag[..parameters.tag.0]);
        Ok(output)
    }

    /// Fails if the tag is not that of the message and the additional data.
    pub fn decrypt_gcm(&self, parameters: &Gcm<'_>, encrypted: &[u8]) -> Result<Vec<u8>, Error> {
        check_iv(parameters.iv)?;
        let refused = Error::Operation("AES-GCM can't decrypt this with that key, or it was changed");
        let (message, tag) = match encrypted.len().checked_sub(parameters.tag.0) {
            Some(length) => encrypted.split_at(length),
            None => return Err(Error::Operation("what AES-GCM has encrypted is not shorter than its tag")),
        };
        let mut output = message.to_vec();
        with_cipher!(self, Aes, key => {
            let mut mode = GcmMode::<Aes>::new(&Aes::new(key.into()), key.into(), parameters.iv);
            let expected = mode.tag(parameters.additional_data, message);
            if !bool::from(expected[..parameters.tag.0].ct_eq(tag)) {
                return Err(refused);
            }
            mode.keystream.apply_keystream(&mut output);
        });
        Ok(output)
    }

    /// KW ([RFC 3394](https://www.rfc-editor.org/rfc/rfc3394)): a key, encrypted so that a change is noticed.
    pub fn wrap(&self, key_data: &[u8]) -> Result<Vec<u8>, Error> {
        // With a single block of eight bytes the construction is not the one that the standard describes.
        if key_data.len() < 16 || !key_data.len().is_multiple_of(8) {
            return Err(Error::Operation("AES-KW wraps 16 bytes or more, in steps of 8"));
        }
        let mut output = vec![0; key_data.len() + 8];
        with_cipher!(self, Aes, key => {
            aes_kw::AesKw::<Aes>::new(key.into()).wrap_key(key_data, &mut output).map(|_| ())
        })
        .map_err(|_| Error::Operation("AES-KW can't wrap this"))?;
        Ok(output)
    }

    /// Fails if that is no key which was wrapped with this one.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Vec<u8>, Error> {
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(Error::Operation(
                "a key that AES-KW has wrapped has 24 bytes or more, in steps of 8",
            ));
        }
        let mut output = vec![0; wrapped.len() - 8];
        with_cipher!(self, Aes, key => {
            aes_kw::AesKw::<Aes>::new(key.into()).unwrap_key(wrapped, &mut output).map(|_| ())
        })
        .map_err(|_| Error::Operation("AES-KW can't unwrap this with that key, or it was changed"))?;
        Ok(output)
    }
}

fn check_iv(iv: &[u8]) -> Result<(), Error> {
    match iv.is_empty() {
        true => Err(Error::Operation("the iv of AES-GCM must not be empty")),
        false => Ok(()),
    }
}

/// GCM as [NIST SP 800-38D](https://doi.org/10.6028/NIST.SP.800-38D) puts it together. The crate `aes-gcm` does the
/// same, but with the length of the iv in a type, so that it has to be known when the program is compiled.
struct GcmMode<Aes: BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>> {
    ghash: GHash,
    /// What the message is combined with.
    keystream: ctr::Ctr32BE<Aes>,
    /// What the tag is combined with.
    mask: Block,
}

impl<Aes> GcmMode<Aes>
where
    Aes: BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16> + KeyInit,
{
    fn new(cipher: &Aes, key: &aes::cipher::Key<Aes>, iv: &[u8]) -> Self {
        let mut hash_key = ghash::Key::default();
        cipher.encrypt_block(&mut hash_key);
        let ghash = GHash::new(&hash_key);
        let mut counter: Block = [0; BLOCK_BYTES];
        if iv.len() == 12 {
            counter[..12].copy_from_slice(iv);
            counter[15] = 1;
        } else {
            let mut hashed = ghash.clone();
            hashed.update_padded(iv);
            hashed.update(&[lengths(0, iv.len()).into()]);
            counter = hashed.finalize().into();
        }
        let mut keystream = ctr::Ctr32BE::<Aes>::new(key, (&counter).into());
        let mut mask = [0; BLOCK_BYTES];
        keystream.apply_keystream(&mut mask);
        GcmMode { ghash, keystream, mask }
    }

    fn tag(&self, additional_data: &[u8], encrypted: &[u8]) -> Block {
        let mut hashed = self.ghash.clone();
        hashed.update_padded(additional_data);
        hashed.update_padded(encrypted);
        hashed.update(&[lengths(additional_data.len(), encrypted.len()).into()]);
        let mut tag: Block = hashed.finalize().into();
        for (byte, mask) in tag.iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        tag
    }
}

/// Two lengths in bits, as the last block of what is hashed has them.
fn lengths(first_bytes: usize, second_bytes: usize) -> Block {
    let bits = |bytes: usize| u128::from(bytes as u64 * 8);
    (bits(first_bytes) << 64 | bits(second_bytes)).to_be_bytes()
}
