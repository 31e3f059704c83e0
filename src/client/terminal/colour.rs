//! Colours, and how a stretch of text looks.
//!
//! Whether the background is light or dark cannot be known. So where a terminal
//! has 256 colours, only those of them are used that can be read on both: each
//! has a contrast of at least 3.9 to black and to white, where 4.6 is the most
//! that any colour can have to both. What is emphasised otherwise is bold, dim or
//! reversed, which is relative to the terminal's own colours.

/// What a terminal can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colours {
    /// None, or none are wanted.
    #[default]
    None,
    /// The sixteen that every terminal has, and each in its own tones.
    Basic,
    /// The 256 whose tones are the same everywhere.
    Many,
}

/// Names, where there are 256 colours: green, teal, blue, indigo, olive,
/// violet, brown, pink, magenta.
const NAMES: [u8; 9] = [28, 30, 31, 63, 64, 129, 130, 162, 164];

/// Names, where there are sixteen: of these, magenta, bright red, bright blue
/// and bright magenta are dark enough for white and light enough for black.
const BASIC_NAMES: [u8; 4] = [35, 91, 94, 95];

/// Red, in both.
const WRONG: u8 = 196;
const BASIC_WRONG: u8 = 91;

/// How a stretch of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Normal,
    Dim,
    Bold,
    Reverse,
    Wrong,
    /// A name's colour; the same hash has the same one.
    Name(u64),
}

impl Style {
    /// A name's style, always the same for the same name in any case.
    pub(super) fn of_name(name: &str) -> Self {
        // FNV-1a: the same on every machine and in every version.
        let hash = name
            .to_lowercase()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
            });
        Style::Name(hash)
    }
}

impl Colours {
    /// What the terminal is told to show a style, if anything.
    pub(super) fn code(self, style: Style) -> Option<String> {
        let one_of = |colours: &[u8], hash: u64| colours[(hash % colours.len() as u64) as usize];
        let code = match (style, self) {
            (Style::Normal, _) | (_, Colours::None) => return None,
            (Style::Bold, _) => "1".to_owned(),
            (Style::Dim, _) => "2".to_owned(),
            (Style::Reverse, _) => "7".to_owned(),
            (Style::Wrong, Colours::Basic) => BASIC_WRONG.to_string(),
            (Style::Wrong, Colours::Many) => format!("38;5;{WRONG}"),
            (Style::Name(hash), Colours::Basic) => one_of(&BASIC_NAMES, hash).to_string(),
            (Style::Name(hash), Colours::Many) => format!("38;5;{}", one_of(&NAMES, hash)),
        };
        Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of a colour to black and to white, as WCAG 2 defines it.
    fn contrasts(colour: [u8; 3]) -> [f64; 2] {
        let linear = |c: u8| match f64::from(c) / 255.0 {
            c if c <= 0.04045 => c / 12.92,
            c => ((c + 0.055) / 1.055).powf(2.4),
        };
        let [r, g, b] = colour.map(linear);
        let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        [(luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)]
    }

    #[test]
    fn every_colour_can_be_read_on_black_and_on_white() {
        // xterm's cube of 6 × 6 × 6 colours begins at 16.
        let cube = |code: u8| {
            let step = |n: u8| [0, 95, 135, 175, 215, 255][usize::from(n % 6)];
            let n = code
                .checked_sub(16)
                .filter(|n| *n < 216)
                .expect("a colour of the cube");
            [step(n / 36), step(n / 6), step(n)]
        };
        // xterm's own tones; other terminals have others of about this lightness.
        let basic = |code: u8| match code {
            35 => [205, 0, 205],
            91 => [255, 0, 0],
            94 => [92, 92, 255],
            95 => [255, 0, 255],
            other => panic!("{other} cannot be read everywhere"),
        };
        for code in NAMES.into_iter().chain([WRONG]) {
            let contrasts = contrasts(cube(code));
            assert!(contrasts.iter().all(|c| *c >= 3.9), "{code}: {contrasts:?}");
        }
        for code in BASIC_NAMES.into_iter().chain([BASIC_WRONG]) {
            let contrasts = contrasts(basic(code));
            assert!(contrasts.iter().all(|c| *c >= 3.0), "{code}: {contrasts:?}");
        }
    }

    #[test]
    fn a_name_keeps_its_colour_in_any_case() {
        let style = Style::of_name("Åse");
        assert_eq!(style, Style::of_name("åSE"));
        assert_ne!(style, Style::of_name("Ase"));
        assert!(Colours::Many.code(style).unwrap().starts_with("38;5;"));
        assert!(!Colours::Basic.code(style).unwrap().contains("38;5"));
    }
}
