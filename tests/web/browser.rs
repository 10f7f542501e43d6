//! Chromium of Debian, without a window, which WebDriver steers.

use serde_json::{Value, json};

use crate::cluster::{Cluster, wait};

/// A browser on the client of the lab.
pub struct Browser<'c> {
    cluster: &'c Cluster,
    session: String,
}

impl<'c> Browser<'c> {
    /// Starts it, with the program that steers it.
    pub fn open(cluster: &'c Cluster) -> Browser<'c> {
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

    /// Opens a page.
    pub fn goes_to(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// What a script in the page returns.
    pub fn runs(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What a reader sees of an element.
    /// The text of an element.
    pub fn text(&self, id: &str) -> String {
        let script = format!("return document.getElementById('{id}').innerText");
        self.runs(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element has a text.
    pub fn until_text(&self, id: &str, wanted: &str) {
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
    pub fn keeps_picture(&self, name: &str) {
        let Ok(folder) = std::env::var("HAD_SCREENSHOTS") else {
            return;
        };
        let picture = self.asks("GET", &format!("{}/screenshot", self.session), &Value::Null);
        let path = std::path::Path::new(&folder).join(name);
        std::fs::write(path, picture.as_str().unwrap_or_default()).unwrap();
    }

    pub fn looks(&self, width: u32, height: u32, scheme: &str) {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.commands("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.commands("Emulation.setEmulatedMedia", &scheme);
    }

    /// Whether something is wider than the screen.
    pub fn overflows(&self) -> bool {
        self.runs("return document.documentElement.scrollWidth > window.innerWidth") != false
    }
}
