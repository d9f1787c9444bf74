//! The reader of age headers: it must not panic, must take whatever age itself takes, and name no more recipients than the
//! file has room for.

#![no_main]

use landfall::secrets::age::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let header = Header::parse(data);
    if let Ok(header) = &header {
        // `-> x` and a newline each.
        assert!(header.recipients.len() * 5 <= data.len());
    }
    if age::Decryptor::new_buffered(age::armor::ArmoredReader::new(data)).is_ok() {
        assert!(header.is_ok(), "age takes it: {header:?}");
    }
});
