//! How long a provider asks to be left alone, in whichever way it says so.

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;

/// The longest pause that a provider may ask for and be heeded.
pub const MAX_PAUSE: Duration = Duration::from_hours(1);

/// What its headers say: `retry-after-ms`, else `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), else when
/// the limit that was reached is reset (`x-ratelimit-reset-requests`, `-tokens`). A longer pause than is heeded counts as the
/// longest.
#[must_use]
pub fn in_headers(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = || {
        let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
        millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok())
    };
    let limit = |of: &str| {
        let left = text(&format!("x-ratelimit-remaining-{of}"))?;
        if left == "0" { text(&format!("x-ratelimit-reset-{of}")).and_then(in_words) } else { None }
    };
    let pause = asked().or_else(|| text("retry-after").and_then(seconds_or_date)).or_else(|| limit("requests").max(limit("tokens")));
    pause.map(|pause| pause.min(MAX_PAUSE))
}

fn seconds_or_date(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc2822).ok()?;
    Some(SystemTime::from(date).duration_since(SystemTime::now()).unwrap_or_default())
}

/// A duration in words: `12ms`, `7.66s`, `6m0s`, `1h2m3s`.
#[must_use]
pub fn in_words(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text.trim(), 0.0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let units = [("ms", 0.001), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, worth) = units.iter().find(|(unit, _)| rest[digits..].starts_with(unit))?;
        seconds += number * worth;
        rest = &rest[digits + unit.len()..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_that_a_provider_asks_for_is_heeded_within_bounds() {
        let pause = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap()));
            in_headers(&headers.collect::<HeaderMap>())
        };
        assert_eq!(pause(&[("retry-after-ms", "1500"), ("retry-after", "9")]), Some(Duration::from_millis(1500)));
        assert_eq!(pause(&[("retry-after", "2.5")]), Some(Duration::from_millis(2500)));
        assert_eq!(pause(&[("retry-after", "86400")]), Some(MAX_PAUSE));
        assert_eq!(pause(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(pause(&[("retry-after", "soon")]), None);
        assert_eq!(pause(&[("retry-after", "-1")]), None);
        assert_eq!(pause(&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "7.66s")]), Some(Duration::from_millis(7660)));
        assert_eq!(pause(&[("x-ratelimit-remaining-tokens", "9"), ("x-ratelimit-reset-tokens", "7.66s")]), None);
    }

    #[test]
    fn durations_in_words_are_read() {
        let read = |text| in_words(text).map(|duration| duration.as_millis());
        assert_eq!([read("12ms"), read("7.66s"), read("6m0s"), read("1h2m3s")], [Some(12), Some(7660), Some(360_000), Some(3_723_000)]);
        assert_eq!([read(""), read("s"), read("3"), read("3x"), read("..s")], [None; 5]);
    }
}
