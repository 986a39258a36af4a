//! Answers that the standards publish. What they don't publish (PSS with a given salt, OAEP with a label, keys in DER) is
//! compared with OpenSSL's in `beside_node.rs`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hex::encode;
use web_crypto::{
    AesKey, CounterBits, Curve, EcPrivateKey, Ed25519PrivateKey, Ed25519PublicKey, Gcm, Hash, Hkdf, Key,
    KeyFormat, KeyKind, Pbkdf2, RsaPublicKey, SecretKey, TagLength, X25519PrivateKey, X25519PublicKey,
};

/// The bytes of hexadecimal text, in which spaces and line ends count for nothing.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).expect("hexadecimal")
}

fn block(text: &str) -> [u8; 16] {
    bytes(text).try_into().expect("16 bytes")
}

fn aes(key: &str) -> AesKey {
    AesKey::from_bytes(&bytes(key)).expect("a key")
}

#[test]
fn digests_of_fips_180() {
    let expected = [
        (Hash::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (Hash::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            Hash::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            Hash::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ];
    for (hash, digest) in expected {
        assert_eq!(encode(hash.digest(b"abc")), digest);
        assert_eq!(hash.output_bytes() * 2, digest.len());
    }
}

#[test]
fn hmacs_of_rfc_2202_and_rfc_4231() {
    let expected = [
        (Hash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (Hash::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            Hash::Sha384,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Hash::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    let key = SecretKey::new(b"Jefe".to_vec());
    for (hash, mac) in expected {
        assert_eq!(encode(key.sign(hash, b"what do ya want for nothing?")), mac);
        assert!(key.verify(hash, b"what do ya want for nothing?", &bytes(mac)));
        assert!(!key.verify(hash, b"what do ya want for nothing.", &bytes(mac)));
        assert!(!key.verify(hash, b"what do ya want for nothing?", &bytes(mac)[1..]));
    }
}

const BLOCKS: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                      30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

#[test]
fn aes_cbc_of_nist_sp_800_38a() {
    let iv = block("000102030405060708090a0b0c0d0e0f");
    let expected = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2\
             73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a\
             571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
             39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ];
    for (key, blocks) in expected {
        let encrypted = aes(key).encrypt_cbc(&iv, &bytes(BLOCKS));
        // The standard's example has no padding; ours is a block of its own.
        assert_eq!(encode(&encrypted[..64]), blocks);
        assert_eq!(encrypted.len(), 80);
        assert_eq!(aes(key).decrypt_cbc(&iv, &encrypted).expect("decrypted"), bytes(BLOCKS));
    }
}

#[test]
fn aes_ctr_of_nist_sp_800_38a() {
    let counter = block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let expected = [
        (
            "2b7e151628aed2a6abf7158809cf4f3c",
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
             5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94\
             1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        ),
        (
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
             2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
    ];
    for (key, encrypted) in expected {
        // Within one bit, this counter begins again at zero after its first block.
        for (bits, same_bytes) in [(1, 16), (64, 64), (128, 64)] {
            let bits = CounterBits::new(bits).expect("a length");
            let got = aes(key)
                .apply_ctr(&counter, bits, &bytes(BLOCKS)[..32.max(same_bytes)])
                .expect("enough blocks");
            let same =
                got.iter().zip(&bytes(encrypted)).take_while(|(got, expected)| got == expected).count();
            assert_eq!(same, same_bytes);
        }
    }
}

/// The examples of "The Galois/Counter Mode of Operation" by McGrew and Viega, to which NIST SP 800-38D refers.
#[test]
fn aes_gcm_of_its_authors() {
    let message = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                   1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let additional = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    let key = "feffe9928665731c6d6a8f9467308308";
    let long_iv = "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728\
                   c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b";
    let expected = [
        (
            "00000000000000000000000000000000",
            "000000000000000000000000",
            "",
            "",
            "58e2fccefa7e3061367f1d57a4e7455a",
        ),
        (
            "00000000000000000000000000000000",
            "000000000000000000000000",
            "00000000000000000000000000000000",
            "",
            "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
        ),
        (
            key,
            "cafebabefacedbaddecaf888",
            message,
            additional,
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
             21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091\
             5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            key,
            "cafebabefacedbad",
            message,
            additional,
            "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c7423\
             73806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598\
             3612d2e79e3b0785561be14aaca2fccb",
        ),
        (
            key,
            long_iv,
            message,
            additional,
            "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca7\
             01e4a9a4fba43c90ccdcb281d48c7c6fd62875d2aca417034c34aee5\
             619cc5aefffe0bfa462af43c1699d050",
        ),
    ];
    for (key, iv, message, additional, encrypted) in expected {
        let (iv, additional) = (bytes(iv), bytes(additional));
        let parameters = Gcm { iv: &iv, additional_data: &additional, tag: TagLength::FULL };
        let got = aes(key).encrypt_gcm(&parameters, &bytes(message)).expect("encrypted");
        assert_eq!(encode(&got), encrypted);
        assert_eq!(aes(key).decrypt_gcm(&parameters, &got).expect("decrypted"), bytes(message));
        // A shorter tag is the begin of the longer one.
        let short = Gcm { tag: TagLength::from_bits(32).expect("a length"), ..parameters };
        assert_eq!(aes(key).encrypt_gcm(&short, &bytes(message)).expect("encrypted"), got[..got.len() - 12]);
    }
}

#[test]
fn wrapped_keys_of_rfc_3394() {
    let expected = [
        (
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
        ),
        (
            "000102030405060708090a0b0c0d0e0f1011121314151617",
            "00112233445566778899aabbccddeeff0001020304050607",
            "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
            "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21",
        ),
    ];
    for (key, data, wrapped) in expected {
        assert_eq!(encode(aes(key).wrap(&bytes(data)).expect("wrapped")), wrapped);
        assert_eq!(aes(key).unwrap(&bytes(wrapped)).expect("unwrapped"), bytes(data));
    }
}

#[test]
fn hkdf_of_rfc_5869() {
    let cases = [
        (
            Hash::Sha256,
            vec![0x0b; 22],
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            Hash::Sha256,
            vec![0x0b; 22],
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
        (
            Hash::Sha1,
            vec![0x0b; 11],
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896",
        ),
    ];
    for (hash, secret, salt, info, derived) in cases {
        let (salt, info) = (bytes(salt), bytes(info));
        let hkdf = Hkdf { hash, salt: &salt, info: &info };
        assert_eq!(encode(hkdf.derive(&SecretKey::new(secret), 42).expect("derived")), derived);
    }
}

#[test]
fn pbkdf2_of_rfc_6070_and_rfc_7914() {
    let cases = [
        (Hash::Sha1, "password", "salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
        (Hash::Sha1, "password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
        (
            Hash::Sha1,
            "passwordPASSWORDpassword",
            "saltSALTsaltSALTsaltSALTsaltSALTsalt",
            4096,
            "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038",
        ),
        (Hash::Sha1, "pass\0word", "sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
        (
            Hash::Sha256,
            "passwd",
            "salt",
            1,
            "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
             49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783",
        ),
    ];
    for (hash, password, salt, iterations, derived) in cases {
        let pbkdf2 = Pbkdf2 { hash, salt: salt.as_bytes(), iterations };
        let got =
            pbkdf2.derive(&SecretKey::new(password.into()), derived.len() / 2, &|| false).expect("derived");
        assert_eq!(encode(got), derived);
    }
}

#[test]
fn signatures_of_rfc_8032() {
    let expected = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (private, public, message, signature) in expected {
        let private = Ed25519PrivateKey::from_bytes(&bytes(private)).expect("a key");
        assert_eq!(encode(private.public_key().as_bytes()), public);
        assert_eq!(encode(private.sign(&bytes(message))), signature);
        assert!(private.public_key().verify(&bytes(message), &bytes(signature)));
        assert!(!private.public_key().verify(b"something else", &bytes(signature)));
    }
}

#[test]
fn what_has_a_small_order_verifies_nothing() {
    // The neutral element; with R = A and s = 0 the equation holds for every message.
    let mut point = [0; 32];
    point[0] = 1;
    let key = Ed25519PublicKey::from_bytes(&point).expect("32 bytes");
    assert!(!key.verify(b"any message", &[point, [0; 32]].concat()));
}

#[test]
fn agreements_of_rfc_7748() {
    let alice = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let alice_public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    let bob = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let bob_public = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    let shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
    let alice = X25519PrivateKey::from_bytes(&alice).expect("a key");
    let bob = X25519PrivateKey::from_bytes(&bob).expect("a key");
    assert_eq!(encode(alice.public_key().as_bytes()), alice_public);
    assert_eq!(encode(bob.public_key().as_bytes()), bob_public);
    assert_eq!(encode(alice.agree(&bob.public_key()).expect("agreed")), shared);
    assert_eq!(encode(bob.agree(&alice.public_key()).expect("agreed")), shared);
}

#[test]
fn nobody_agrees_on_zero() {
    let key = X25519PrivateKey::from_bytes(&[7; 32]).expect("a key");
    let zero = X25519PublicKey::from_bytes(&[0; 32]).expect("32 bytes");
    assert_eq!(key.agree(&zero).expect_err("refused").name(), "OperationError");
}

#[test]
fn agreements_of_rfc_5903() {
    let expected = [
        (
            Curve::P256,
            "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
            "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
            "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
        ),
        (
            Curve::P384,
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655\
             e35b538041e649ee3faef896783ab194",
            "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942\
             e0308312916b8ed2960e4bd55a7448fc",
            "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4\
             d603135569b9e9d09cf5d4a270f59746",
        ),
        (
            Curve::P521,
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa\
             85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c67\
             7d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
            "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d142\
             7e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea",
        ),
    ];
    for (curve, initiator, responder, shared) in expected {
        let initiator = EcPrivateKey::from_bytes(curve, &bytes(initiator)).expect("a key");
        let responder = EcPrivateKey::from_bytes(curve, &bytes(responder)).expect("a key");
        assert_eq!(encode(initiator.agree(&responder.public_key()).expect("agreed")), shared);
        assert_eq!(encode(responder.agree(&initiator.public_key()).expect("agreed")), shared);
    }
}

/// RFC 7515, A.2.
#[test]
fn a_signed_token_of_rfc_7515_verifies() {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let modulus = decode(concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ",
        "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2",
        "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcD",
        "TW9gb54h4FRWyuXpoQ",
    ));
    let signature = decode(concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU",
        "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d",
        "O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
        "cN_IoypGlUPQGe77Rw",
    ));
    let signed = concat!(
        "eyJhbGciOiJSUzI1NiJ9.",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    );
    let key = RsaPublicKey::from_numbers(&modulus, &[1, 0, 1]).expect("a key");
    assert_eq!(key.modulus_bits(), 2048);
    assert!(key.verify_pkcs1(Hash::Sha256, signed.as_bytes(), &signature));
    assert!(!key.verify_pkcs1(Hash::Sha512, signed.as_bytes(), &signature));
    assert!(!key.verify_pkcs1(Hash::Sha256, &signed.as_bytes()[1..], &signature));
}

/// RFC 8410, 10.1 and 10.3.
#[test]
fn keys_of_rfc_8410_are_read() {
    let public =
        bytes("302a300506032b6570032100 19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    let private = bytes(
        "302e020100300506032b657004220420 d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
    );
    let public = Key::import(KeyKind::Ed25519, KeyFormat::Spki, &public).expect("a key");
    let private = Key::import(KeyKind::Ed25519, KeyFormat::Pkcs8, &private).expect("a key");
    let (Key::Ed25519Public(public), Key::Ed25519Private(private)) = (public, private) else {
        panic!("keys of other kinds");
    };
    assert_eq!(private.public_key(), public);
    assert!(Key::import(KeyKind::X25519, KeyFormat::Spki, &public.to_spki()).is_err());
}
