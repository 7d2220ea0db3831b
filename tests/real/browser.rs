//! A real browser without a window: Chromium, told what to do over its debugging protocol. It ends with the value that holds it.

use super::parts::{Process, wait};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// No answer of the browser takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One page of one browser.
pub(crate) struct Browser {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    session: String,
    calls: u64,
    events: Vec<Value>,
    _process: Process,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("chromium");
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            .args(["--disable-sync", "--disable-quic", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start(&mut command);
        // It writes its port, and where the protocol is spoken, when it is ready.
        let told = profile.path().join("DevToolsActivePort");
        let (port, path) = wait("Chromium to be ready", || {
            let text = fs::read_to_string(&told).ok()?;
            let (port, path) = text.trim().split_once('\n')?;
            Some((port.parse::<u16>().ok()?, path.to_owned()))
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let url = format!("ws://127.0.0.1:{port}{path}");
            tokio_tungstenite::client_async(url, stream).await.unwrap().0
        });
        let mut browser = Self {
            runtime,
            socket,
            session: String::new(),
            calls: 0,
            events: Vec::new(),
            _process: process,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Runtime", "Log", "Page", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Tells it something, and waits for the answer.
    fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The same, whatever it answers.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        let (socket, events, id) = (&mut self.socket, &mut self.events, self.calls);
        let answer = async {
            socket.send(Message::text(call.to_string())).await.unwrap();
            while let Some(message) = socket.next().await {
                let Message::Text(text) = message.unwrap() else { continue };
                let told: Value = serde_json::from_str(&text).unwrap();
                if told["id"] == id {
                    return told;
                }
                events.push(told);
            }
            panic!("the browser has gone");
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        answer.unwrap_or_else(|_| panic!("no answer to {method}"))
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    pub(crate) fn reload(&mut self) {
        self.call("Page.reload", json!({ "ignoreCache": true }));
    }

    /// The value of an expression on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression on the page is true; while a page is on its way, nothing is.
    pub(crate) fn until(&mut self, expression: &str) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let safe = format!("(() => {{ try {{ return Boolean({expression}) }} catch {{ return false }} }})()");
        let params = json!({ "expression": safe, "returnByValue": true });
        while self.ask("Runtime.evaluate", params.clone())["result"]["result"]["value"] != json!(true) {
            if tokio::time::Instant::now() >= end {
                let text = self.eval("document.body.innerText");
                panic!("waited {PATIENCE:?} for {expression} on\n{}", text.as_str().unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Clicks into the middle of an element with the mouse, as a hand does.
    pub(crate) fn click(&mut self, selector: &str) {
        let selector = json!(selector);
        self.until(&format!(
            "document.querySelector({selector}) && !document.querySelector({selector}).disabled"
        ));
        let at = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector}); e.scrollIntoView({{ block: 'center' }}); \
             const b = e.getBoundingClientRect(); const x = b.x + b.width / 2, y = b.y + b.height / 2; \
             return {{ x, y, hit: e.contains(document.elementFromPoint(x, y)) }} }})()"
        ));
        assert_eq!(at["hit"], true, "{selector} lies under something else");
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus, and presses Enter.
    pub(crate) fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
        self.press("Enter", "\r");
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str, text: &str) {
        let code = if key == "Tab" { 9 } else { 13 };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// How large the window is, and what the user likes.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture of the window, kept below `target/tmp` for whoever wants to look at it.
    pub(crate) fn picture(&mut self, name: &str) {
        let result = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = decoded(result["data"].as_str().unwrap());
        assert!(png.starts_with(b"\x89PNG"));
        fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png")), png)
            .unwrap();
    }

    /// What a printer gets, as PDF, kept beside the pictures.
    pub(crate) fn printed(&mut self) -> Vec<u8> {
        let result = self.call("Page.printToPDF", json!({ "printBackground": true }));
        let pdf = decoded(result["data"].as_str().unwrap());
        fs::write(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.pdf"), &pdf).unwrap();
        pdf
    }

    /// Errors and warnings of the console, and exceptions.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.eval("1");
        let wrong = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => true,
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "verbose",
            _ => false,
        };
        self.events.iter().filter(wrong).map(|event| event["params"].to_string()).collect()
    }

    /// Everything that was asked for, by URL.
    pub(crate) fn requested(&mut self) -> Vec<String> {
        self.eval("1");
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        asked.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

/// Base64, as the protocol writes pictures.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|c| *c != b'=').map(|c| u32::from(digit(c))).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8].into_iter().take(four.len() - 1)
    });
    bytes.collect()
}
