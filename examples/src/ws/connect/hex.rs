//! Bytes as hexadecimal digits.

use std::fmt::Write;

/// Bytes on one line of a dump.
const WIDTH: usize = 16;

/// Reads hexadecimal digits; blanks between them do not count.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect();
    let digits = digits.ok_or("write hexadecimal digits, such as 00 ff")?;
    if digits.len() % 2 != 0 {
        return Err("write two hexadecimal digits for each byte");
    }
    // Each digit is below 16.
    Ok(digits.chunks_exact(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect())
}

/// All bytes on one line.
pub(super) fn line(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut line, byte| {
        // Writing to a String does not fail.
        let _ = write!(line, "{byte:02x}");
        line
    })
}

/// Lines of an offset, bytes, and what of them is visible ASCII, as `hexdump -C` has them.
pub(super) fn dump(bytes: &[u8]) -> Vec<String> {
    bytes.chunks(WIDTH).enumerate().map(|(at, bytes)| dumped(at * WIDTH, bytes)).collect()
}

fn dumped(offset: usize, bytes: &[u8]) -> String {
    let mut line = format!("{offset:08x}");
    for at in 0..WIDTH {
        let gap = if at % 8 == 0 { "  " } else { " " };
        let _ = match bytes.get(at) {
            Some(byte) => write!(line, "{gap}{byte:02x}"),
            None => write!(line, "{gap}  "),
        };
    }
    let visible = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' };
    let text: String = bytes.iter().map(visible).collect();
    line + "  |" + &text + "|"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes_and_bytes_digits() {
        assert_eq!(parse("00 Ff\t10").unwrap(), [0, 255, 16]);
        assert_eq!(parse("").unwrap(), [0; 0]);
        assert_eq!(line(&[0, 255, 16]), "00ff10");
        for text in ["0", "0x00", "zz", "0\u{661}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_dump_is_that_of_hexdump() {
        // printf 'websockets simple\0' | hexdump -C
        assert_eq!(
            dump(b"websockets simple\0"),
            [
                "00000000  77 65 62 73 6f 63 6b 65  74 73 20 73 69 6d 70 6c  |websockets simpl|",
                "00000010  65 00                                             |e.|",
            ]
        );
        assert_eq!(dump(b""), [""; 0]);
    }
}
