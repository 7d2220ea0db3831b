//! The live page in a real browser: it shows what happens, does what is clicked, and asks nobody but Brownout.

use super::browser::Browser;
use super::parts::{Brownout, Service, free, status};
use std::fs;

const FAULTS: &str = "document.querySelector('#faults').innerText";

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').innerText")
}

/// Nothing of the page is wider than its window.
fn fits(browser: &mut Browser, width: u32) {
    let wide = browser.eval("document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
}

#[test]
#[ignore = "needs real parts (chromium): ./check real"]
fn a_demo_lights_up_and_can_be_healed_armed_and_halted_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["demo", "--admin", "127.0.0.1:0", "--set", "run.fault=60s"];
    let brownout = Brownout::start(folder.path(), &args);
    let line = brownout.says("live page: ");
    let url = line.split("live page: ").nth(1).unwrap().trim().to_owned();
    let mut browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&url);
    browser.until("document.querySelectorAll('#edges article').length === 4");
    browser.until(&format!("{}.includes('what it is like when all is well')", text("story")));
    assert_eq!(browser.eval("document.querySelectorAll('#graph .service').length"), 5);
    assert_eq!(browser.eval("document.querySelectorAll('#graph .source').length"), 0);
    browser.picture("page-baseline");
    // Nobody touches anything, and the picture lights up.
    browser.until(&format!("{}.includes('in force')", FAULTS));
    browser.until("[...document.querySelectorAll('#graph .source title')].some(t => t.textContent.includes('provider'))");
    browser.until("document.querySelectorAll('#graph .symptom').length >= 2");
    browser.until(&format!("{}.includes('provider is the source')", text("story")));
    browser.until("document.querySelectorAll('#cascade li').length >= 3");
    browser.until(&format!("{}.includes('does not hold')", text("expectations")));
    browser.until("document.querySelectorAll('#edge-0 svg').length === 3");
    for (width, height, scheme) in [
        (1920, 1080, "light"),
        (1920, 1080, "dark"),
        (1280, 900, "dark"),
        (768, 1024, "light"),
        (380, 800, "dark"),
        (380, 800, "light"),
    ] {
        browser.look(width, height, scheme);
        browser.picture(&format!("page-{width}-{scheme}"));
        fits(&mut browser, width);
    }
    browser.look(1280, 900, "light");
    // A page that is opened in the middle shows the same.
    browser.reload();
    browser.until("document.querySelectorAll('#cascade li').length >= 3");
    // By hand.
    browser.click("#faults button[data-act=heal]");
    browser.until("document.querySelector('#faults button[data-act=arm]')");
    browser.eval("document.querySelector('#faults select').value = '2m'");
    browser.click("#faults button[data-act=arm]");
    browser.until(&format!("/in force/.test({FAULTS}) && /heals in [12]:/.test({FAULTS})"));
    browser.click("button[data-act=heal-all]");
    browser.until("document.querySelector('#faults button[data-act=arm]:not(:disabled)')");
    browser.click("#halt");
    browser.until(&format!("{}.includes('HALTED')", text("alert")));
    browser.until("document.querySelector('#faults button[data-act=arm]').disabled");
    browser.until("document.title.startsWith('HALTED')");
    browser.picture("page-halted");
    browser.click("#alert button[data-act=lift]");
    browser.until(&format!("!{}.includes('HALTED')", text("alert")));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let foreign: Vec<String> =
        browser.requested().into_iter().filter(|asked| !asked.starts_with(&url)).collect();
    assert_eq!(foreign.iter().filter(|asked| *asked != "about:blank").count(), 0, "{foreign:?}");
    // It says that it is gone, and how it stood stays.
    drop(brownout);
    browser.until("!document.getElementById('lost').hidden && document.body.classList.contains('lost')");
    assert_eq!(browser.eval("document.querySelectorAll('#edges article').length"), 4);
}

#[test]
#[ignore = "needs real parts (chromium, nginx, curl): ./check real"]
fn beyond_loopback_the_page_asks_for_the_token_and_names_stay_names() {
    let (nginx, folder, edge) = (Service::nginx(), tempfile::tempdir().unwrap(), free());
    let evil = "<img src=x onerror=document.title=1>";
    let file = format!(
        "name = '{evil}'\n[[edge]]\nname = '{evil}'\nlisten = \"{edge}\"\nupstream = \"{}\"\nfrom = '{evil}'\n\
         [[fault]]\nname = 'gone {evil}'\nedge = '{evil}'\nmatch = \"all\"\narmed = false\nrespond = 503\n",
        nginx.url()
    );
    fs::write(folder.path().join("experiment.toml"), file).unwrap();
    let args = ["serve", "--admin", "0.0.0.0:0", "experiment.toml"];
    let brownout = Brownout::start_with(folder.path(), &args, &[("BROWNOUT_TOKEN", "s3cret")]);
    let port = brownout.address("admin: ").port();
    let mut browser = Browser::start();
    browser.look(1000, 800, "dark");
    browser.open(&format!("http://127.0.0.1:{port}/"));
    browser.until("!document.getElementById('door').hidden && document.activeElement.id === 'token'");
    assert!(
        !browser.eval("document.body.innerHTML").as_str().unwrap().contains("img"),
        "told before the token"
    );
    browser.enter("wrong");
    browser.until("document.getElementById('token').value === '' && !document.getElementById('door').hidden");
    browser.until(&format!("{}.includes('not the right one')", text("said")));
    browser.enter("s3cret");
    browser.until("document.querySelectorAll('#edges article').length === 1");
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), 0);
    browser.until(&format!("{}.includes('<img src=x')", text("what")));
    // With the keyboard alone.
    browser.eval("document.querySelector('#faults button[data-act=arm]').focus()");
    browser.press("Enter", "\r");
    browser.until(&format!("{FAULTS}.includes('in force')"));
    assert_eq!(status(&[format!("http://{edge}/")]), "503");
    browser.until("document.querySelector('#faults button[data-act=heal]')");
    browser.click("#faults button[data-act=heal]");
    browser.until("document.querySelector('#faults button[data-act=arm]')");
    assert_eq!(status(&[format!("http://{edge}/")]), "200");
    browser.picture("page-serve");
    let refused = browser.complaints();
    assert!(refused.iter().all(|text| text.contains("401")), "{refused:?}");
}
