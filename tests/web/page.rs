//! The page in a real browser, which WebDriver steers: Chromium of Debian, without a window.

use serde_json::{Value, json};

use crate::cluster::{Cluster, wait};
use crate::rig::{ALICE, ANYWHERE, BOB, pair, start};

/// A browser on the client of the lab.
struct Browser<'c> {
    cluster: &'c Cluster,
    session: String,
}

impl<'c> Browser<'c> {
    fn open(cluster: &'c Cluster) -> Browser<'c> {
        let driver = "HOME=/run exec chromedriver --port=9515 >/run/chromedriver.log 2>&1";
        cluster.lab.spawn("client", &["sh", "-c", driver]).unwrap();
        let browser = Browser {
            cluster,
            session: String::new(),
        };
        assert!(wait(
            || browser.asks("GET", "/status", &Value::Null)["ready"] == true
        ));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ];
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let made = browser.asks("POST", "/session", &wanted);
        let session = made["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"));
        Browser {
            cluster,
            session: format!("/session/{session}"),
        }
    }

    fn asks(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string().replace('\'', "'\\''");
        let data = if method == "POST" {
            format!("-d '{body}'")
        } else {
            String::new()
        };
        let command = format!("curl -s -m 50 -X {method} {data} 'http://127.0.0.1:9515{path}'");
        let answer = self.cluster.run("client", &command).stdout;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        answer["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.asks("POST", &format!("{}{path}", self.session), body)
    }

    fn goes_to(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    fn runs(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What a reader sees of an element.
    fn text(&self, id: &str) -> String {
        let script = format!("return document.getElementById('{id}').innerText");
        self.runs(&script).as_str().unwrap_or_default().to_owned()
    }

    fn until_text(&self, id: &str, wanted: &str) {
        let mut last = String::new();
        let met = wait(|| {
            last = self.text(id);
            last.contains(wanted)
        });
        assert!(
            met,
            "{id} does not tell {wanted}: {last}\n{}",
            self.runs("return document.body.innerText")
        );
    }

    /// Chromium's own protocol.
    fn commands(&self, command: &str, parameters: &Value) {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        );
    }

    /// Keeps a picture in the folder that HAD_SCREENSHOTS names, for people.
    fn keeps_picture(&self, name: &str) {
        let Ok(folder) = std::env::var("HAD_SCREENSHOTS") else {
            return;
        };
        let picture = self.asks("GET", &format!("{}/screenshot", self.session), &Value::Null);
        let path = std::path::Path::new(&folder).join(name);
        std::fs::write(path, picture.as_str().unwrap_or_default()).unwrap();
    }

    fn looks(&self, width: u32, height: u32, scheme: &str) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.commands("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.commands("Emulation.setEmulatedMedia", &scheme);
    }

    /// Whether something is wider than the screen.
    fn overflows(&self) -> bool {
        self.runs("return document.documentElement.scrollWidth > window.innerWidth") != false
    }
}

#[test]
fn a_browser_sees_a_failover_without_a_reload() {
    let cluster = pair("web-page");
    let browser = Browser::open(&cluster);
    browser.looks(1200, 1000, "light");
    browser.goes_to(&format!("http://{BOB}:9694/"));
    browser.until_text("verdict", "2 of 2 groups running");
    browser.until_text("groups", "runs on alice");
    browser.until_text("age", "live");
    browser.keeps_picture("well-light");
    browser.runs("window.untouched = true");

    cluster.lab.crash("alice").unwrap();
    browser.until_text("problems", "silent for longer than deadtime");
    browser.until_text("verdict", "2 of 2 groups running");
    browser.until_text("history", "web: online: all its resources are started");
    assert!(!browser.text("groups").contains("runs on alice"));
    assert_eq!(
        browser.runs("return window.untouched"),
        true,
        "it was loaded again"
    );
    browser.keeps_picture("crash-light");
    for (name, width, height, scheme) in [
        ("crash-dark", 1200, 1000, "dark"),
        ("crash-phone", 390, 844, "light"),
    ] {
        browser.looks(width, height, scheme);
        assert!(!browser.overflows(), "{name}");
        browser.keeps_picture(name);
    }
    // One is dark on light, the other light on dark.
    let ink = |scheme| {
        browser.looks(1200, 1000, scheme);
        browser.runs("return getComputedStyle(document.body).color")
    };
    assert_ne!(ink("light"), ink("dark"));

    let had = cluster.lab.had_pid("bob").unwrap().unwrap();
    cluster.sh("bob", &format!("kill -STOP {had}"));
    browser.until_text("trouble", "Not fresh: had is silent; does it hang?");
    browser.keeps_picture("stale-dark");
    cluster.sh("bob", &format!("kill -CONT {had}"));
    browser.until_text("age", "live");
    assert_eq!(
        browser.runs("return document.getElementById('trouble').hidden"),
        true
    );

    // Nor does the page need to be loaded again when had-web itself was away.
    cluster.sh("bob", "kill $(pidof had-web)");
    browser.until_text("trouble", "had-web on this node does not answer");
    start(&cluster, "bob", ANYWHERE);
    browser.until_text("age", "live");
    assert_eq!(browser.runs("return window.untouched"), true);
}

#[test]
fn what_a_script_says_is_text_and_a_token_is_asked_for() {
    let hostile = "#!/bin/sh\ncase $1 in\nstatus) echo stopped;;\n\
        start) echo '<img src=x onerror=window.struck=1><b id=struck>' >&2; exit 1;;\nesac\n";
    let cluster = crate::rig::blueprint("web-hostile-text")
        .script("web", hostile)
        .up();
    cluster.sh("alice", "umask 077; echo 0123456789abcdef0123 >/run/token");
    start(
        &cluster,
        "alice",
        "--listen 0.0.0.0:9694 --plain-http-anywhere --token-file /run/token",
    );
    let browser = Browser::open(&cluster);
    let page = format!("http://{ALICE}:9694/");
    assert!(wait(|| {
        browser.goes_to(&page);
        browser.text("login").contains("asks for its token")
    }));
    assert_eq!(browser.text("groups"), "");
    browser.runs("document.getElementById('token').value = '0123456789abcdef0123'; document.querySelector('button').click()");
    browser.until_text(
        "problems",
        "<img src=x onerror=window.struck=1><b id=struck>",
    );
    assert_eq!(
        browser.runs("return window.struck === undefined && !document.getElementById('struck')"),
        true
    );
}
