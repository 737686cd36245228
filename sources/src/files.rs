//! Folders and files, read within limits and never out of their root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{About, Sink, Unlisted};

/// Longest file that is read.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// Deepest folder below a root.
const MAX_DEPTH: usize = 16;

/// Every file of this name below a root, in the order of the paths. What leads out of the root, or cannot be read, is reported;
/// `about`: what is lost with a folder of this name.
pub(crate) fn find(
    root: &Path,
    wanted: impl Fn(&str) -> bool,
    about: impl Fn(&str) -> About,
    sink: &Sink,
) -> Result<Vec<PathBuf>, Unlisted> {
    let missing = |error: io::Error| Unlisted::unreachable(root.display(), error);
    let real = root.canonicalize().map_err(missing)?;
    if !real.is_dir() {
        return Err(Unlisted::unreachable(root.display(), "is no folder"));
    }
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        sink.still_heard()?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // A part of the tree that cannot be read says nothing about what is in it.
            Err(error) => return Err(Unlisted::unreachable(folder.display(), error)),
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|error| Unlisted::unreachable(folder.display(), error))?.path());
        }
        paths.sort();
        for path in paths {
            let inside = path.canonicalize().is_ok_and(|target| target.starts_with(&real));
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !inside {
                // A file of another name would not have been read where it belongs either.
                if wanted(&name) || !path.is_file() {
                    sink.blocking_wrong(path.display(), "leads out of its root, or nowhere", about(&name));
                }
            } else if path.is_dir() {
                if path.is_symlink() {
                    continue; // The folder itself is met where it lies.
                }
                if depth == MAX_DEPTH {
                    sink.blocking_wrong(path.display(), "lies deeper than 16 folders", About::Anything);
                } else {
                    folders.push((path, depth + 1));
                }
            } else if wanted(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A text file within the limit.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        // Reading from a pipe would never end.
        return Err("is no file".to_owned());
    }
    let size = metadata.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("has {size} bytes, more than 1 MiB"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    // Some editors write a byte order mark, which is no part of the text.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The line on which a field stands, or the first one.
pub(crate) fn line_of(text: &str, field: &str) -> u64 {
    let found = text.lines().position(|line| line.trim_start().trim_start_matches('"').starts_with(field));
    found.map_or(1, |line| line as u64 + 1)
}

/// A YAML mapping as JSON; an error has its line.
pub(crate) fn yaml(text: &str, lines_before: u64) -> Result<serde_json::Map<String, serde_json::Value>, (u64, String)> {
    // As in YAML 1.2: `y` and `no` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    let parsed = serde_saphyr::from_str_with_options::<serde_json::Value>(text, options);
    match parsed {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err((lines_before + 1, "is no mapping of names to values".to_owned())),
        Err(error) => {
            let told = error.without_snippet();
            let (line, what) = (
                told.location().map_or(1, |location| location.line()),
                told.render_with_formatter(&serde_saphyr::UserMessageFormatter),
            );
            // Its own place counts from where the text begins, and not the file.
            let place = told.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
            let what = place.and_then(|place| what.strip_suffix(&place)).unwrap_or(&what);
            let what = what.lines().next().unwrap_or_default();
            Err((lines_before + line, what.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_error_names_one_line_and_booleans_are_those_of_yaml_1_2() {
        for (text, line, says) in [
            ("name: z\nlabels: [a\n", 3, "unclosed bracket '['"),
            ("name: z\nname: y\n", 3, "duplicate mapping key `name` is not allowed here"),
            ("a: b: c\n", 2, "mapping values are not allowed in this context"),
            ("a: \"b\n", 2, "unclosed quote"),
            ("a: \u{1}\n", 2, "unexpected character: `\\u{1}'"),
        ] {
            assert_eq!(yaml(text, 1).unwrap_err(), (line, says.to_owned()));
        }
        assert_eq!(yaml("a: y\nb: no\nc: true\n", 0).unwrap()["a"], "y");
    }
}
