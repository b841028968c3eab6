//! Names that guests choose.

/// Characters that a chosen name keeps.
pub const MAX_CHARS: usize = 32;

/// The name for the one that a guest asked for, `None` if nothing is left of it.
///
/// A name is one visible word, so that it can stand in `/msg NAME TEXT` and in a line of the chat: runs of
/// blanks become one `-`, control and invisible characters are left out, and it is cut after [`MAX_CHARS`]
/// characters.
///
/// # Examples
///
/// ```
/// use websockets_simple_examples::chat::name::clean;
///
/// assert_eq!(clean("  Mary \t Ann\r\n").as_deref(), Some("Mary-Ann"));
/// assert_eq!(clean(" \u{200B} "), None);
/// ```
#[must_use]
pub fn clean(asked: &str) -> Option<String> {
    let visible: String = asked.chars().filter(|c| c.is_whitespace() || !is_invisible(*c)).collect();
    let word = visible.split_whitespace().collect::<Vec<_>>().join("-");
    let name: String = word.chars().take(MAX_CHARS).collect();
    (!name.is_empty()).then_some(name)
}

/// Characters that take no place, or that change the direction of what follows.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_anything_visible_is_none() {
        for asked in ["", "   ", "\t\r\n", "\u{0}\u{7}\u{1b}", "\u{200b}\u{feff}", "\u{3000}"] {
            assert_eq!(clean(asked), None, "{asked:?}");
        }
    }

    #[test]
    fn control_characters_cannot_reach_the_terminals_of_others() {
        assert_eq!(clean("Ro\u{1b}[31mnald\u{7}").as_deref(), Some("Ro[31mnald"));
        assert_eq!(clean("John joined.\nAdam").as_deref(), Some("John-joined.-Adam"));
        assert_eq!(clean("\u{202e}nhoJ").as_deref(), Some("nhoJ"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(clean(&"é".repeat(500)).unwrap(), "é".repeat(MAX_CHARS));
    }

    #[test]
    fn an_ordinary_name_is_left_as_it_is() {
        for name in ["Ronald", "Żółć", "李雷", "O'Neill", "🦀"] {
            assert_eq!(clean(name).as_deref(), Some(name));
        }
    }
}
