//! Which functions of a bundle are those of published packages that the engine has a quicker way for, by what they do.
//!
//! The engine lets values that are plain pass the conversion natively, and reads many documents at once where all are wanted (guest/values.h). The tool that bundles an app renames every
//! variable, so a function is recognised by its bytecode without names: the guest sends it as a text in which variables
//! are numbers, and here its digest is looked up. Whatever has the digest of a published function does what that does.
//! Packages that hash passwords are recognised, too (guest/hashing.h).
//!
//! A new engine or a new version of the library gives other digests. Then values go the library's own way, and the
//! end-to-end test `conversion` fails. `RUST_LOG=isolate::library=trace` shows digest and text of each function that was asked about.

use sha2::{Digest, Sha256};

/// What a function is, in the order of `LibraryKind` in guest/values.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `jsonToConvex`
    FromJson = 1,
    /// `convexToJsonInternal`
    ToJson = 2,
    /// `validateObjectField`
    FieldName = 3,
    /// `isSimpleObject`
    SimpleObject = 4,
    /// `isSpecial`
    SpecialNumber = 5,
    /// `QueryImpl.collect`
    Collect = 6,
    /// `QueryImpl[Symbol.asyncIterator]`
    Iterate = 7,
    /// `QueryImpl.next`
    Next = 8,
    /// `performAsyncSyscall`
    Operate = 9,
    /// `rotl` of lucia and @noble/hashes
    Rotate = 10,
    /// `XorAndSalsa` of both
    Salsa = 11,
    /// `BlockMix` of both
    BlockMix = 12,
    /// `scrypt` of lucia
    ScryptInSteps = 13,
    /// `scrypt` of @noble/hashes 1
    ScryptAtOnce = 14,
    /// `scrypt` of @noble/hashes 2
    ScryptAtOnceMasked = 15,
    /// The second function that `scryptAsync` of @noble/hashes 1 gives to its loop
    ScryptStep = 16,
    /// The same of @noble/hashes 2
    ScryptStepMasked = 17,
    /// `_streamtoword` of bcryptjs
    StreamToWord = 18,
    /// `_encipher` of bcryptjs
    Encipher = 19,
    /// `_key` of bcryptjs
    Key = 20,
}

/// As many variables of a closure are named at most for hashing; `LIBRARY_VARIABLES_MAX` in guest/values.h.
const VARIABLES_MAX: usize = 9;

/// Which variable of its closure is which function, where it has such a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roles {
    kind: Kind,
    itself: Option<u8>,
    field_name: Option<u8>,
    simple_object: Option<u8>,
    special_number: Option<u8>,
    commit_timestamp: Option<u8>,
    operate: Option<u8>,
    from_json: Option<u8>,
    /// What guest/hashing.h and platform/hashing.js take from the closure, in their order.
    variables: &'static [u8],
}

impl Roles {
    const fn leaf(kind: Kind) -> Roles {
        Roles {
            kind,
            itself: None,
            field_name: None,
            simple_object: None,
            special_number: None,
            commit_timestamp: None,
            operate: None,
            from_json: None,
            variables: &[],
        }
    }

    const fn hashing(kind: Kind, variables: &'static [u8]) -> Roles {
        assert!(variables.len() <= VARIABLES_MAX);
        Roles { variables, ..Roles::leaf(kind) }
    }

    /// As guest.c reads it: one character each, `0` for nothing, `1` for the variable 0.
    fn encoded(self) -> String {
        let variables = [
            self.itself,
            self.field_name,
            self.simple_object,
            self.special_number,
            self.commit_timestamp,
            self.operate,
            self.from_json,
        ];
        let hashing = (0..VARIABLES_MAX).map(|number| self.variables.get(number).copied());
        let variables = variables.into_iter().chain(hashing);
        let variables = variables.map(|variable| char::from(b'0' + variable.map_or(0, |index| index + 1)));
        std::iter::once(char::from(b'1' + self.kind as u8)).chain(variables).collect()
    }
}

const fn from_json(field_name: u8) -> Roles {
    Roles { itself: Some(0), field_name: Some(field_name), ..Roles::leaf(Kind::FromJson) }
}

/// Until 1.42: there are no commit timestamps yet.
const TO_JSON_1_28: Roles = Roles {
    itself: Some(0),
    special_number: Some(5),
    simple_object: Some(9),
    field_name: Some(10),
    ..Roles::leaf(Kind::ToJson)
};

/// From 1.43 on.
const TO_JSON_1_43: Roles = Roles {
    itself: Some(0),
    special_number: Some(5),
    commit_timestamp: Some(8),
    simple_object: Some(10),
    field_name: Some(11),
    ..Roles::leaf(Kind::ToJson)
};

const NEXT: Roles = Roles { operate: Some(1), from_json: Some(2), ..Roles::leaf(Kind::Next) };

/// `BlockMix` comes first for the platform, which the function uses after its arrays.
const STEP: &[u8] = &[6, 0, 1, 2, 3, 4, 5, 7, 8];

/// The first 16 bytes of the digests of what the versions from 1.28 to 1.49 have, as the library's own tool bundles it
/// (the first of two) and as it is written.
const KNOWN: &[(&str, Roles)] = &[
    ("72508d410a0fa89369317911b74d22c4", from_json(5)),
    ("2be3bfe61d7cc5307ca2f111c4de0907", from_json(5)),
    ("346e02a3ed9afb0310a0f6497eb75fc3", from_json(6)),
    ("9480f5930b72e5e7d8b4b6bafdae5dc4", from_json(6)),
    ("7808bca301d5f16f4361fc036c0e2a03", TO_JSON_1_28),
    ("18dbd4b542eda64559fdd2e61f1ee9d8", TO_JSON_1_28),
    ("3ee6615ad34687f987fddb47c63f603f", TO_JSON_1_43),
    ("445c7a25586ff6abc7fabaa5dec96f1d", TO_JSON_1_43),
    ("203a49bc1080397ca997c41f66624557", Roles::leaf(Kind::FieldName)),
    ("25f965983a90959220a97d2128f896d0", Roles::leaf(Kind::SimpleObject)),
    ("8bd204bddc7ef5565b0522f80976119a", Roles::leaf(Kind::SimpleObject)),
    ("e0f59b00d3a5471eff3584f4d0566118", Roles::leaf(Kind::SpecialNumber)),
    ("4e71fd47879ead3b56960997b6f53554", Roles::leaf(Kind::Collect)),
    ("e121e56ad3b7a143f46492eab6ba8da8", Roles::leaf(Kind::Iterate)),
    ("fd0c3589ce9c0e5e90a8d7086306f980", NEXT),
    ("b5ac28f3dea18b6cfa972b1a66814e19", NEXT),
    ("d3b66748b740d00b86276fabaf218650", Roles::leaf(Kind::Operate)),
    ("01d67077bd34fe53f9d68f8cad2974af", Roles::leaf(Kind::Operate)),
    // For hashing: lucia 3.2.2, @noble/hashes 1.8.0 and 2.4.0, bcryptjs 2.4.3 and 3.0.3, as the same tools bundle them
    // (tests/end-to-end/digests.mjs).
    ("a65f7e73345ae85e3aff617cf2a289c8", Roles::leaf(Kind::Rotate)),
    ("0f6e78cb24d076239261a77dc88c37b2", Roles::leaf(Kind::Rotate)),
    ("214662ec60e57a4c3b5f1e3aeff372c1", Roles::hashing(Kind::Salsa, &[0])),
    ("178498b8fbde44293ef3542e54d91183", Roles::hashing(Kind::BlockMix, &[0])),
    ("a7d09607dc8438b0dbe9827c4a9d402a", Roles::hashing(Kind::ScryptInSteps, &[0, 1, 2])),
    ("487f9f7e21d8d86137ec13e525bbf08f", Roles::hashing(Kind::ScryptAtOnce, &[0, 1, 2, 3])),
    ("2bd140fb5c75c4f4c03429daf935e029", Roles::hashing(Kind::ScryptAtOnceMasked, &[0, 1, 2, 3])),
    ("664fa3c1deeadfc87d6bcfa930ecc081", Roles::hashing(Kind::ScryptStep, STEP)),
    ("54315873c00c3151a3c5cf6465ff9dec", Roles::hashing(Kind::ScryptStepMasked, STEP)),
    ("7d1f2ec2cfc76fbe0e816ea965c1a38a", Roles::leaf(Kind::StreamToWord)),
    ("8517d34a555e53b360f6bf246bbf6a90", Roles::hashing(Kind::Encipher, &[0])),
    ("7ea97ebb1cd30ae3956512a70c55fb75", Roles::hashing(Kind::Key, &[0, 1])),
];

/// The answer to the guest's question what a function is: empty if it is not the library's.
pub fn recognise(text: &[u8]) -> String {
    let digest = hex::encode(&Sha256::digest(text)[..16]);
    let known = KNOWN.iter().find(|(known, _)| *known == digest);
    tracing::trace!(digest, text = %String::from_utf8_lossy(text), "asked about a function");
    if let Some((_, roles)) = known {
        tracing::debug!(function = ?roles.kind, "a function of the library was recognised");
    }
    known.map_or_else(String::new, |(_, roles)| roles.encoded())
}
