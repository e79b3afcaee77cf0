//! A headless Chromium, driven over its DevTools pipe: JSON messages, each ended by NUL.
//!
//! Refuses to wait for time to pass: what a page is to come to is awaited inside the page.

use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::DEADLINE;

/// What Chromium is called, depending on who packages it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const FLAGS: [&str; 11] = [
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en-GB",
];

/// A running browser. Closed when it is dropped.
pub struct Browser {
    process: Child,
    commands: RefCell<ChildStdin>,
    heard: Receiver<Value>,
    /// What it told without being asked.
    events: RefCell<Vec<Value>>,
    calls: Cell<u64>,
    said: Arc<Mutex<String>>,
    _profile: TempDir,
}

/// A tab of somebody who shares nothing with the other tabs.
pub struct Page<'a> {
    browser: &'a Browser,
    session: String,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Self {
        let runs = |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        let Some(name) = NAMES.iter().find(runs) else { panic!("Chromium is not installed, and these tests need it; `tests/run` installs it") };
        let profile = tempfile::tempdir().unwrap();
        // It reads commands from descriptor 3 and answers on 4, which only a shell can arrange without unsafe code.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#, "sh", name]).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

        let (tell, heard) = channel();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let message = serde_json::from_slice(&std::mem::take(&mut message)).expect("DevTools speak JSON");
                if tell.send(message).is_err() {
                    break;
                }
            }
        });
        let said = Arc::new(Mutex::new(String::new()));
        let (mut stderr, log) = (process.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut piece) {
                log.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        let commands = RefCell::new(process.stdin.take().unwrap());
        Self { process, commands, heard, events: RefCell::default(), calls: Cell::new(0), said, _profile: profile }
    }

    /// Opens a page in a profile of its own.
    pub fn open(&self, url: &str) -> Page<'_> {
        let context = &self.call(None, "Target.createBrowserContext", &json!({}))["browserContextId"];
        let target = &self.call(None, "Target.createTarget", &json!({"url": "about:blank", "browserContextId": context}))["targetId"];
        let session = &self.call(None, "Target.attachToTarget", &json!({"targetId": target, "flatten": true}))["sessionId"];
        let page = Page { browser: self, session: session.as_str().unwrap().to_owned() };
        for domain in ["Runtime", "Log", "Page"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.screen(1280, 800);
        page.go(url);
        page
    }

    fn call(&self, session: Option<&str>, method: &str, params: &Value) -> Value {
        let id = self.calls.get() + 1;
        self.calls.set(id);
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let sent = self.commands.borrow_mut().write_all(format!("{command}\0").as_bytes());
        assert!(sent.is_ok(), "Chromium is gone; it said:\n{}", self.said.lock().unwrap());
        loop {
            let Ok(mut message) = self.heard.recv_timeout(DEADLINE) else {
                panic!("Chromium does not answer {method} {params}; it said:\n{}", self.said.lock().unwrap());
            };
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method} {params}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.borrow_mut().push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends all its processes; its pipe ends with the last of them. Whether it hears is checked by that.
        let _ = self.commands.get_mut().write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        while self.heard.recv_timeout(DEADLINE).is_ok() {}
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Page<'_> {
    /// Goes somewhere, as by the address bar.
    pub fn go(&self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The size of its window.
    pub fn screen(&self, width: u32, height: u32) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// What a JavaScript expression gives.
    pub fn evaluate(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until an expression gives something true, and gives it.
    pub fn wait_for(&self, expression: &str) -> Value {
        let limit = DEADLINE.as_millis() * 3 / 4;
        let found = self.evaluate(&format!(
            "new Promise(resolve => {{
                const check = () => {{
                    const found = {expression};
                    if (found || performance.now() - begun > {limit}) resolve(found || null);
                    else setTimeout(check, 10);
                }};
                const begun = performance.now();
                check();
            }})"
        ));
        if found.is_null() {
            let shown = self.evaluate("document.body.innerText");
            panic!("waited in vain for {expression}; errors: {:?}; the page shows:\n{}", self.errors(), shown.as_str().unwrap_or_default());
        }
        found
    }

    /// From now on notices when an expression gives something true, however shortly; [`Self::seen`] waits for that.
    pub fn watch(&self, expression: &str) {
        self.evaluate(&format!(
            "globalThis.seen = null;
            new MutationObserver(() => {{ seen ??= {expression} || null; }})
                .observe(document.body, {{ attributes: true, characterData: true, childList: true, subtree: true }});"
        ));
    }

    /// The first true thing that the watched expression gave.
    pub fn seen(&self) -> Value {
        self.wait_for("seen")
    }

    /// What an element shows.
    pub fn text(&self, selector: &str) -> String {
        self.evaluate(&format!("document.querySelector({selector:?})?.innerText")).as_str().unwrap_or_default().to_owned()
    }

    /// Presses the mouse on the middle of an element, which must be the topmost there.
    pub fn click(&self, selector: &str) {
        let place = self.wait_for(&format!(
            "(() => {{
                const found = document.querySelector({selector:?});
                found?.scrollIntoView({{ block: 'nearest' }});
                const box = found?.getBoundingClientRect();
                const place = box && {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
                const top = place && document.elementFromPoint(place.x, place.y);
                return top && (found.contains(top) || top.contains(found)) && place;
            }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            self.call("Input.dispatchMouseEvent", &json!({"type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1}));
        }
    }

    /// Types into a field.
    pub fn write(&self, selector: &str, text: &str) {
        self.click(selector);
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Presses Enter.
    pub fn enter(&self) {
        for (kind, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let key = json!({"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": text});
            self.call("Input.dispatchKeyEvent", &key);
        }
    }

    /// Presses a key that writes nothing, such as `ArrowDown`.
    pub fn press(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({"type": kind, "key": key, "code": key}));
        }
    }

    /// Every error of its console so far, exceptions and refused requests included.
    pub fn errors(&self) -> Vec<String> {
        // What was told before this answer has been heard with it.
        self.evaluate("0");
        let events = self.browser.events.borrow();
        let own = events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        own.filter_map(|event| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
                "Log.entryAdded" if params["entry"]["level"] == "error" => Some(format!("{} {}", params["entry"]["text"], params["entry"]["url"])),
                _ => None,
            }
        })
        .collect()
    }

    /// What it looks like, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }
}
