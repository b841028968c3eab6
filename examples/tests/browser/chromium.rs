//! Browsers that do what the tests say.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use thirtyfour::{By, ChromeCapabilities, ChromiumLikeCapabilities, DesiredCapabilities, Key, WebDriver};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

const PATIENCE: Duration = Duration::from_secs(30);

const DEBIAN: &str = "apt-get install chromium chromium-driver";

/// Tests that have browsers at the same time; each takes some hundred MB.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Ends the driver when its input ends, which it also does when the tests are killed.
const WATCH: &str = "chromedriver --port=0 & driver=$!; read -r _; kill $driver; wait $driver";

/// A page that is left has to go, and with it its WebSocket.
const LEAVES_PAGES: &str = "--disable-features=BackForwardCache";

/// A driver, which ends with its browsers when it is dropped.
pub(crate) struct Driver {
    url: String,
    shell: Child,
    profiles: tempfile::TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let turn = TURNS.acquire().await.unwrap();
        for program in ["chromium", "chromedriver"] {
            let mut version = Command::new(program);
            version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let there = version.status().await.is_ok_and(|status| status.success());
            assert!(there, "{program} does not run. Please install it: {DEBIAN}");
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCH]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let port = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the driver says where it listens");
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    break port.trim_end_matches('.').parse::<u16>().unwrap();
                }
            }
        };
        let port = tokio::time::timeout(PATIENCE, port).await.expect("a driver in time");
        let url = format!("http://127.0.0.1:{port}");
        Self { url, shell, profiles: tempfile::tempdir().unwrap(), _turn: turn }
    }

    /// A browser with nothing in its memory, on a desk.
    pub(crate) async fn browser(&self, name: &str) -> Browser {
        let mut wanted = DesiredCapabilities::chrome();
        wanted.add_arg("--window-size=1000,640").unwrap();
        wanted.add_arg(LEAVES_PAGES).unwrap();
        self.begin(name, wanted).await
    }

    /// The same, and it keeps pages that are left, to show them again as they were.
    pub(crate) async fn keeping_browser(&self, name: &str) -> Browser {
        self.begin(name, DesiredCapabilities::chrome()).await
    }

    /// The same, and it trusts every certificate.
    pub(crate) async fn trusting_browser(&self, name: &str) -> Browser {
        let mut wanted = DesiredCapabilities::chrome();
        wanted.add_arg("--ignore-certificate-errors").unwrap();
        wanted.add_arg(LEAVES_PAGES).unwrap();
        self.begin(name, wanted).await
    }

    /// The same on a phone, as large as most are.
    pub(crate) async fn phone(&self, name: &str) -> Browser {
        let mut wanted = DesiredCapabilities::chrome();
        let metrics =
            json!({ "width": 390, "height": 844, "pixelRatio": 1.0, "mobile": true, "touch": true });
        wanted.add_arg(LEAVES_PAGES).unwrap();
        wanted.add_experimental_option("mobileEmulation", json!({ "deviceMetrics": metrics })).unwrap();
        self.begin(name, wanted).await
    }

    async fn begin(&self, name: &str, mut wanted: ChromeCapabilities) -> Browser {
        for argument in [
            "--headless=new",
            // Without which it does not run as root.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            // It ends with its driver.
            "--remote-debugging-pipe",
            // Nothing is looked up beyond this machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--lang=en-US",
        ] {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", self.profiles.path().join(name).display())).unwrap();
        let driver = WebDriver::new(&self.url, wanted).await.unwrap();
        Browser { driver, name: name.to_owned() }
    }

    /// Ends the driver, and waits for that.
    pub(crate) async fn end(mut self) {
        drop(self.shell.stdin.take());
        tokio::time::timeout(PATIENCE, self.shell.wait()).await.expect("the driver ends in time").unwrap();
    }
}

/// A browser with one page.
pub(crate) struct Browser {
    driver: WebDriver,
    name: String,
}

impl Browser {
    pub(crate) async fn open(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// Looks at the page anew, with nothing but what the tab remembers.
    pub(crate) async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// What a JavaScript expression gives, or the promise that it gives.
    pub(crate) async fn value(&self, expression: &str) -> serde_json::Value {
        let script = format!(
            "const done = arguments[0]; (async () => ({expression}))().then(done, (error) => done(String(error)));"
        );
        self.driver.execute_async(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Runs a command of the Chrome DevTools Protocol.
    pub(crate) async fn tool(&self, command: &str, parameters: serde_json::Value) {
        self.driver.cdp().send_raw(command, parameters).await.unwrap();
    }

    /// Shows the page that it has left.
    pub(crate) async fn back(&self) {
        self.driver.back().await.unwrap();
    }

    /// Waits until a JavaScript expression is true.
    pub(crate) async fn sees(&self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.value(expression).await != json!(true) {
            if Instant::now() > until {
                let page = self.value("document.body.innerText").await;
                panic!("{} waited in vain for {expression} and sees: {page}", self.name);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until this text is in one of the visible elements of a selector.
    pub(crate) async fn reads(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.sees(&format!(
            "[...document.querySelectorAll({selector})].some((one) => one.checkVisibility() && one.innerText.includes({text}))"
        ))
        .await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.driver.find(By::Css(selector)).await.unwrap().click().await.unwrap();
    }

    /// Types into a field and presses Enter.
    pub(crate) async fn enters(&self, selector: &str, text: &str) {
        let field = self.driver.find(By::Css(selector)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
        field.send_keys("" + Key::Enter).await.unwrap();
    }

    /// Keeps a picture of the page under the target folder.
    pub(crate) async fn picture(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        self.driver.screenshot(&path).await.unwrap();
        path
    }

    pub(crate) async fn close(self) {
        self.driver.quit().await.unwrap();
    }
}
