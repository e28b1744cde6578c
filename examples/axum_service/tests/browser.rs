//! The page in a browser without a window: what it shows is what happens, and what is set there is
//! set. Where there is no `chromedriver` the trial is listed as ignored.

mod http;
mod program;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use http::get_json;
use program::{LIMIT, Program, eventually};

/// For a picture of the page, as its README has one: where to put it.
const PICTURE: &str = "DYNAMIC_BATCHER_TEST_PICTURE";

fn main() -> ExitCode {
    let trials = [("light", "light"), ("dark", "dark")].map(|(name, scheme)| {
        Trial::ignorable_test(
            format!("the_page_shows_and_sets_what_happens::{name}"),
            move || {
                let Some(driver) = driver() else {
                    return Ok(Completion::ignored_with("there is no chromedriver"));
                };
                let runtime = tokio::runtime::Runtime::new().map_err(Failed::from)?;
                runtime.block_on(the_page_shows_and_sets_what_happens(driver, scheme));
                Ok(Completion::Completed)
            },
        )
    });
    let mut arguments = Arguments::from_args();
    // Two browsers at once are slow.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// The program `chromedriver`, on the path.
fn driver() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("chromedriver"));
    programs.find(|program| program.is_file())
}

/// A page in a browser.
struct Page {
    client: Client,
    /// Ends the browser too.
    _driver: Child,
}

impl Page {
    async fn open(driver: PathBuf, address: SocketAddr, scheme: &str) -> Self {
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = timeout(LIMIT, async {
            loop {
                let line = lines
                    .next_line()
                    .await
                    .expect("it is read")
                    .expect("it goes on");
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        });
        let port = port.await.expect("chromedriver starts in time");
        let dark = u8::from(scheme == "dark");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1240,1180",
            // 0 is dark, 1 light.
            &format!("--blink-settings=preferredColorScheme={}", 1 - dark),
        ];
        let wanted = json!({ "goog:chromeOptions": { "args": arguments } });
        let Value::Object(wanted) = wanted else {
            unreachable!("it is an object");
        };
        let driver_url = format!("http://127.0.0.1:{port}");
        let connector = HttpConnector::new();
        let client = Client::with_capabilities_and_connector(&driver_url, &wanted, connector);
        let client = timeout(LIMIT, client)
            .await
            .expect("in time")
            .expect("a browser");
        client
            .goto(&format!("http://{address}/"))
            .await
            .expect("the page");
        Self {
            client,
            _driver: driver,
        }
    }

    /// What an expression gives in the page.
    async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        let value = self.client.execute(&script, Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn holds(&self, expression: &str) -> bool {
        self.value(expression).await == json!(true)
    }

    async fn eventually(&self, expression: &str) {
        eventually(expression, async || self.holds(expression).await).await;
    }

    /// Types a number into a field, as a user does.
    async fn set(&self, id: &str, value: &str) {
        let field = self.client.find(Locator::Id(id)).await.expect("a field");
        let all = format!("{}a{}", char::from(Key::Control), char::from(Key::Null));
        let typed = field.send_keys(&format!("{all}{value}")).await;
        typed.expect("it can be typed into");
    }

    async fn click(&self, selector: &str) {
        let element = self.client.find(Locator::Css(selector)).await;
        element
            .expect("it is there")
            .click()
            .await
            .expect("clicked");
    }
}

async fn the_page_shows_and_sets_what_happens(driver: PathBuf, scheme: &'static str) {
    let (mut service, address) = Program::service(&[], &[]).await;
    let page = Page::open(driver, address, scheme).await;
    let title = page.client.title().await.expect("a title");
    assert_eq!(title, "dynamic-batcher at work");
    page.eventually("document.getElementById('connection').textContent === 'live'")
        .await;
    let is_dark = page
        .holds("matchMedia('(prefers-color-scheme: dark)').matches")
        .await;
    assert_eq!(is_dark, scheme == "dark");

    page.eventually("settings !== null").await;

    // One request, which has the window to itself.
    page.set("batch_time_ms", "20").await;
    let set = async |pointer: &str, value: Value| {
        eventually(pointer, async || {
            get_json(address, "/control").await.pointer(pointer) == Some(&value)
        })
        .await;
    };
    set("/batching/batch_time_ms", json!(20.0)).await;
    page.click("#send").await;
    page.eventually(
        "document.getElementById('answer').textContent.startsWith('200 {\"key\":\"page\"')",
    )
    .await;
    page.eventually("last.length === 1 && last[0].reason === 'window' && last[0].size === 1")
        .await;

    // Many: the batches grow until the size closes them.
    page.set("batch_size", "16").await;
    page.set("per_second", "1500").await;
    set("/batching/batch_size", json!(16)).await;
    set("/load/per_second", json!(1500)).await;
    page.eventually("last.filter(b => b.reason === 'full' && b.size === 16).length > 3")
        .await;
    page.eventually("Number(document.getElementById('answered').textContent) > 500")
        .await;
    page.eventually("document.querySelectorAll('#last tr').length === LAST")
        .await;
    for chart in ["batch", "latency", "queue"] {
        // Something is drawn in the colour of batches that are full, which is also that of lines.
        let is_drawn = format!(
            "(() => {{ const c = document.getElementById('{chart}-chart'); \
               const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; \
               const [r, g, b] = style('--full').match(/\\w\\w/g).map(h => parseInt(h, 16)); \
               let n = 0; for (let i = 0; i < p.length; i += 4) \
                 if (Math.abs(p[i] - r) + Math.abs(p[i + 1] - g) + Math.abs(p[i + 2] - b) < 12) n++; \
               return n > 20; }})()"
        );
        page.eventually(&is_drawn).await;
    }

    // An idle processor that does not wait.
    page.click("[name=when_idle][value=run]").await;
    page.set("per_second", "100").await;
    page.set("takes_ms", "2").await;
    set("/batching/when_idle", json!("run")).await;
    page.eventually("last.length > 0 && last.every(b => b.reason === 'idle')")
        .await;

    // Failures, and what is not allowed.
    page.set("fail_percent", "30").await;
    set("/function/fail_percent", json!(30.0)).await;
    page.eventually("Number(document.getElementById('failed').textContent) > 1")
        .await;
    page.eventually("document.getElementById('failures').textContent.startsWith('handler ')")
        .await;
    page.set("batch_size", "4096").await;
    page.eventually(
        "document.getElementById('problem').textContent === 'batch_size is 4096, allowed is 1 to 1024'",
    )
    .await;
    set("/batching/batch_size", json!(16)).await;

    // It needs nothing from elsewhere, and each field has a name.
    page.eventually(
        "performance.getEntriesByType('resource').every(r => r.name.startsWith(location.origin))",
    )
    .await;
    page.eventually(
        "[...document.querySelectorAll('input, select')].every(f => f.labels.length || f.ariaLabel)",
    )
    .await;

    if let Some(path) = std::env::var_os(PICTURE) {
        take_picture(&page, PathBuf::from(path).join(format!("{scheme}.png"))).await;
    }

    // The service may end while the page watches; the page says so.
    service.signal("TERM").await;
    assert_eq!(service.ended().await.code(), Some(0));
    page.eventually("document.getElementById('connection').textContent === 'not connected'")
        .await;
    page.client.close().await.expect("it can be closed");
}

/// A picture of half a minute with something of everything.
async fn take_picture(page: &Page, path: PathBuf) {
    page.click("[name=when_idle][value=wait]").await;
    for (load, size, window, takes, fails) in [
        ("150", "32", "25", "4", "0"),
        ("900", "32", "25", "12", "0"),
        ("2200", "32", "25", "12", "0.3"),
        ("500", "32", "40", "6", "0"),
    ] {
        for (id, value) in [
            ("batch_size", size),
            ("batch_time_ms", window),
            ("takes_ms", takes),
            ("fail_percent", fails),
            ("per_second", load),
        ] {
            page.set(id, value).await;
        }
        tokio::time::sleep(Duration::from_millis(7500)).await;
    }
    let picture = page.client.screenshot().await.expect("a picture");
    std::fs::write(path, picture).expect("it can be written");
}
