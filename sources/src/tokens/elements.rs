//! The elements of a JSON array, one at a time: one that is too long is read past, and never held.

use std::io::BufRead;

use serde_json::Value;

/// What stands at one place of the array.
pub(super) enum Element {
    Value(Value),
    TooLong,
}

const NO_LIST: &str = "no list of tokens";
const NO_JSON: &str = "no JSON, or half of it";
const UNREADABLE: &str = "a file that cannot be read";

/// Where a reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// Behind a comma, where an element has to follow.
    Comma,
    End,
}

/// Reads an array. Of what is wrong it says where, and never what stands there: it may be a token.
pub(super) struct Elements<R> {
    input: R,
    most: usize,
    at: At,
    line: u64,
    column: u64,
}

impl<R: BufRead> Elements<R> {
    /// `most`: bytes of an element.
    pub(super) fn new(input: R, most: usize) -> Self {
        Self { input, most, at: At::Start, line: 1, column: 0 }
    }

    /// The next element; after an error there is none.
    pub(super) fn next(&mut self) -> Result<Option<Element>, String> {
        let is_first = self.at == At::Start;
        if is_first {
            let first = match self.visible()? {
                // Some editors write a byte order mark.
                Some(0xEF) if self.byte()? == Some(0xBB) && self.byte()? == Some(0xBF) => self.visible()?,
                first => first,
            };
            match first {
                Some(b'[') => {}
                Some(_) => return Err(self.wrong(NO_LIST)),
                None => return Err(self.wrong(NO_JSON)),
            }
        }
        if self.at == At::End {
            return if self.visible()?.is_none() { Ok(None) } else { Err(self.wrong(NO_JSON)) };
        }
        let (text, is_last) = self.text()?;
        self.at = if is_last { At::End } else { At::Comma };
        match text {
            None => Ok(Some(Element::TooLong)),
            Some(text) if text.is_empty() && is_first && is_last => self.next(),
            Some(text) => {
                let value = serde_json::from_slice(&text).map_err(|_| self.wrong(NO_JSON))?;
                Ok(Some(Element::Value(value)))
            }
        }
    }

    /// What stands before the next comma or the closing bracket of the array, and whether it is the bracket. `None`: too long.
    fn text(&mut self) -> Result<(Option<Vec<u8>>, bool), String> {
        let (mut text, mut is_long) = (Vec::new(), false);
        let (mut depth, mut in_string, mut escaped) = (0_u64, false, false);
        let mut next = self.visible()?;
        while let Some(byte) = next {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'[' | b'{' => depth += 1,
                    b',' | b']' if depth == 0 => return Ok(((!is_long).then_some(text), byte == b']')),
                    b'}' if depth == 0 => return Err(self.wrong(NO_JSON)),
                    b']' | b'}' => depth -= 1,
                    _ => {}
                }
            }
            if is_long || text.len() == self.most {
                (is_long, text) = (true, Vec::new());
            } else {
                text.push(byte);
            }
            next = self.byte()?;
        }
        Err(self.wrong(NO_JSON))
    }

    /// The next byte that is no blank.
    fn visible(&mut self) -> Result<Option<u8>, String> {
        loop {
            match self.byte()? {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {}
                other => return Ok(other),
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, String> {
        let Some(byte) = self.input.fill_buf().map_err(|_| UNREADABLE)?.first().copied() else { return Ok(None) };
        self.input.consume(1);
        (self.line, self.column) = if byte == b'\n' { (self.line + 1, 0) } else { (self.line, self.column + 1) };
        Ok(Some(byte))
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what}, from line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Option<String>) {
        let mut elements = Elements::new(text.as_bytes(), 12);
        let mut told = Vec::new();
        loop {
            match elements.next() {
                Ok(None) => return (told, None),
                Ok(Some(Element::TooLong)) => told.push("too long".to_owned()),
                Ok(Some(Element::Value(value))) => told.push(value.to_string()),
                Err(what) => return (told, Some(what)),
            }
        }
    }

    #[test]
    fn an_array_is_read_element_by_element() {
        for (text, elements) in [
            ("[]", vec![]),
            (" [ ] \n", vec![]),
            ("[1, \"a\" ,{\"b\":[2]}]", vec!["1", "\"a\"", "{\"b\":[2]}"]),
            (r#"["],[\"{\\", 2]"#, vec![r#""],[\"{\\""#, "2"]),
            (r#"[1,{"a":"]},{[\"\\\\","b":[[],{}]},3]"#, vec!["1", "too long", "3"]),
            ("[\"0123456789\",\"0123456789a\"]", vec!["\"0123456789\"", "too long"]),
        ] {
            assert_eq!(read(text), (elements.into_iter().map(str::to_owned).collect(), None), "{text}");
        }
    }

    #[test]
    fn what_is_no_array_says_where() {
        for (text, count, says) in [
            ("", 0, "no JSON"),
            ("{}", 0, "no list of tokens, from line 1, column 1"),
            ("\"x\"", 0, "no list"),
            ("[", 0, "no JSON"),
            ("[1", 0, "no JSON"),
            ("[1,", 1, "no JSON"),
            ("[1,\n]", 1, "no JSON, or half of it, from line 2, column 1"),
            ("[,1]", 0, "no JSON"),
            ("[1] 2", 1, "no JSON"),
            ("[1 2]", 0, "no JSON"),
            ("[1}]", 0, "no JSON"),
            ("[\"0123456789abc", 0, "no JSON"),
        ] {
            let (elements, wrong) = read(text);
            assert_eq!(elements.len(), count, "{text}");
            assert!(wrong.is_some_and(|wrong| wrong.starts_with(says)), "{text}");
        }
    }
}
