//! Pictures as providers give them: as bytes, as a `data:` URL, or as a URL to be fetched; and whether they are pictures.
//!
//! A URL in a provider's answer is somebody else's word: it is fetched only by https, only from public addresses, each
//! redirect checked anew, and only so much of it. Refuses whatever is not PNG, JPEG or WebP by its own bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Url, redirect};
use tokio::time::{Instant, timeout_at};

use super::{
    Fault, Key, Picture, ProviderError,
    wire::{Caller, Patience},
};
use crate::{job::ImageSize, media::ImageType};

/// How often a picture may be somewhere else.
const MAX_REDIRECTS: usize = 3;
/// The largest side that is taken.
const MAX_SIDE: usize = 8192;

/// What the bytes are, by themselves.
///
/// # Errors
/// Where they are no picture that is taken.
pub fn recognise(provider: &'static str, bytes: Vec<u8>) -> Result<Picture, ProviderError> {
    let malformed = |detail: &str| ProviderError::new(provider, Fault::Malformed, detail).may_be_billed();
    let kind = match imagesize::image_type(&bytes) {
        Ok(imagesize::ImageType::Png) => ImageType::Png,
        Ok(imagesize::ImageType::Jpeg) => ImageType::Jpeg,
        Ok(imagesize::ImageType::Webp) => ImageType::Webp,
        _ => return Err(malformed("its picture is neither PNG nor JPEG nor WebP")),
    };
    let size = imagesize::blob_size(&bytes).map_err(|_| malformed("its picture is damaged"))?;
    if !(1..=MAX_SIDE).contains(&size.width) || !(1..=MAX_SIDE).contains(&size.height) {
        return Err(malformed("its picture is too large"));
    }
    let size = ImageSize { width: size.width as u32, height: size.height as u32 };
    Ok(Picture { kind, size, bytes: bytes.into() })
}

/// The aspect ratio, of those that models know, nearest to a size.
#[must_use]
pub fn nearest_ratio(size: ImageSize) -> &'static str {
    const RATIOS: [(&str, f64); 7] =
        [("1:1", 1.0), ("4:3", 4.0 / 3.0), ("3:4", 0.75), ("3:2", 1.5), ("2:3", 2.0 / 3.0), ("16:9", 16.0 / 9.0), ("9:16", 0.5625)];
    let wanted = f64::from(size.width) / f64::from(size.height);
    let distance = |ratio: f64| (ratio.ln() - wanted.ln()).abs();
    RATIOS.iter().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1))).map_or("1:1", |(name, _)| name)
}

/// Where pictures are in a text: in markdown, else as bare `data:` URLs or URLs of pictures; each once.
#[must_use]
pub fn urls_in(text: &str) -> Vec<&str> {
    let mut urls: Vec<&str> = Vec::new();
    for rest in text.split("![").skip(1) {
        let url = rest.split_once("](").and_then(|(_, after)| after.split(|char: char| char == ')' || char.is_whitespace()).next());
        urls.extend(url.filter(|url| !url.is_empty()));
    }
    if urls.is_empty() {
        let words = text.split(|char: char| char.is_whitespace() || matches!(char, '"' | ')' | '(' | '<' | '>'));
        urls.extend(words.filter(|word| word.starts_with("data:image/") || is_url_of_a_picture(word)));
    }
    let mut once = Vec::new();
    for url in urls {
        if !once.contains(&url) {
            once.push(url);
        }
    }
    once
}

fn is_url_of_a_picture(word: &str) -> bool {
    let path = word.split(['?', '#']).next().unwrap_or_default();
    word.starts_with("http") && [".png", ".jpg", ".jpeg", ".webp"].iter().any(|extension| path.ends_with(extension))
}

/// The bytes of a picture in base64, with or without `data:image/…;base64,` before it.
///
/// # Errors
/// Where it is no base64.
pub fn decode(provider: &'static str, encoded: &str) -> Result<Vec<u8>, ProviderError> {
    let encoded = match encoded.strip_prefix("data:") {
        Some(url) => url.split_once(";base64,").map_or("-", |(_, encoded)| encoded),
        None => encoded,
    };
    let decoded = if encoded.contains(char::is_whitespace) {
        STANDARD.decode(encoded.split_whitespace().collect::<String>())
    } else {
        STANDARD.decode(encoded)
    };
    decoded.map_err(|_| ProviderError::new(provider, Fault::Malformed, "its picture is not base64").may_be_billed())
}

/// How pictures are fetched.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    pub provider: &'static str,
    /// Whether they may be on a private address, and without TLS.
    pub may_be_local: bool,
    pub patience: Patience,
}

impl Fetch {
    /// The bytes behind a `data:` or https URL.
    ///
    /// # Errors
    /// Where it is neither, or not where it may be fetched from, or the fetch fails. The picture is paid for then.
    pub async fn load(self, url: &str) -> Result<Vec<u8>, ProviderError> {
        if url.starts_with("data:") {
            return decode(self.provider, url);
        }
        self.fetch(url).await.map_err(ProviderError::may_be_billed)
    }

    async fn fetch(self, url: &str) -> Result<Vec<u8>, ProviderError> {
        let refused = |detail: &str| ProviderError::new(self.provider, Fault::Malformed, detail);
        let deadline = Instant::now() + self.patience.between;
        let mut url = Url::parse(url).map_err(|_| refused("its picture has no URL that can be read"))?;
        for _ in 0..=MAX_REDIRECTS {
            if url.scheme() != "https" && !(self.may_be_local && url.scheme() == "http") {
                return Err(refused("its picture is not on https"));
            }
            let addresses = timeout_at(deadline, resolve(self.provider, &url, self.may_be_local)).await;
            let addresses = addresses.map_err(|_| ProviderError::new(self.provider, Fault::TimedOut, "the host of its picture can't be found"))??;
            // The address that was checked is the one that is used; a proxy would look for one itself.
            let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().connect_timeout(self.patience.connect);
            let client =
                client.resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses).build().map_err(|error| refused(&error.to_string()))?;
            // The key belongs to the provider, not to whoever it names.
            let caller = Caller { name: self.provider, key: Key::default(), client, patience: self.patience };
            let reply = caller.get(caller.client.get(url.clone()), deadline).await?;
            let Some(next) = reply.location() else { return caller.read(reply, deadline).await };
            url = url.join(next).map_err(|_| refused("its picture is nowhere"))?;
        }
        Err(refused("its picture is always somewhere else"))
    }
}

async fn resolve(provider: &'static str, url: &Url, may_be_local: bool) -> Result<Vec<SocketAddr>, ProviderError> {
    let refused = |detail: &str| ProviderError::new(provider, Fault::Malformed, detail);
    let host = url.host_str().map(|host| host.trim_matches(['[', ']'])).ok_or_else(|| refused("its picture has no host"))?;
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| refused("the host of its picture is not known"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() || (!may_be_local && addresses.iter().any(|address| !is_public(address.ip()))) {
        return Err(refused("its picture is on a private address"));
    }
    Ok(addresses)
}

/// Whether anybody on the internet may have this address (the special-purpose registries of IANA, RFC 6890).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (18..20).contains(&b);
    let protocol = a == 192 && b == 0 && c == 0;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || shared
        || benchmark
        || protocol)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // Only global unicast, and of that not what tunnels to elsewhere or is for documents.
    (first & 0xe000) == 0x2000 && first != 0x2002 && !(first == 0x2001 && (second < 0x200 || second == 0xdb8)) && first != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_everybodys_are_refused() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "198.18.0.1",
            "224.0.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "ff02::1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn pictures_are_found_in_what_a_chat_model_says() {
        assert_eq!(
            urls_in("Here: ![a cat](https://x.test/a.png) and ![](data:image/png;base64,AA==) ![b](https://x.test/a.png)"),
            ["https://x.test/a.png", "data:image/png;base64,AA=="]
        );
        assert_eq!(urls_in("data:image/png;base64,AA== done"), ["data:image/png;base64,AA=="]);
        assert_eq!(urls_in("See https://x.test/a.png?x=1 or https://x.test/page"), ["https://x.test/a.png?x=1"]);
        assert!(urls_in("I can't draw that. ![").is_empty());
    }

    #[test]
    fn base64_is_read_however_it_is_wrapped() {
        for encoded in ["AQID", "data:image/png;base64,AQID", "AQ\nID "] {
            assert_eq!(decode("test", encoded).unwrap(), [1, 2, 3], "{encoded}");
        }
        for wrong in ["data:image/png,AQID", "AQ-D", "A"] {
            assert!(decode("test", wrong).unwrap_err().billed, "{wrong}");
        }
    }

    #[test]
    fn the_nearest_ratio_is_taken() {
        let ratio = |width, height| nearest_ratio(ImageSize { width, height });
        assert_eq!([ratio(1024, 1024), ratio(1920, 1080), ratio(1024, 1536), ratio(800, 600)], ["1:1", "16:9", "2:3", "4:3"]);
    }
}
