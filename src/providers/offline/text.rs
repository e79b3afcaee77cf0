pub struct Request<'a> {
    pub prompt: &'a str,
    pub author: Option<&'a str>,
}
pub fn reply(r: &Request<'_>) -> String {
    format!("I am offline. {:?} said: {}", r.author, r.prompt)
}
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}
