//! Texts as frames: each is parsed or refused, and a plain object is read as the JSON library reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomlog_protocol::{Limits, client::parse};

fuzz_target!(|text: &str| {
    let limits = Limits::default();
    let parsed = parse(text, &limits);
    // With an escape in it, the same object is not plain any more.
    let escaped = text.replacen("\"type\"", "\"\\u0074ype\"", 1);
    if let Ok(frame) = &parsed {
        assert_eq!(parse(&escaped, &limits).as_ref(), Ok(frame), "{escaped}");
        // What was taken is taken again as it is written.
        let written = serde_json::to_string(frame).expect("JSON");
        assert_eq!(parse(&written, &limits).as_ref(), Ok(frame), "{written}");
    }
});
