//! `report.html` in a real browser: it opens from disk, asks nobody for anything, and can be read in light, dark and print.

use super::browser::Browser;
use super::parts::{Service, brownout, results};
use std::fs;
use std::path::Path;

/// A report is opened from disk at these widths, in light and dark, and printed; nothing is asked for, nothing complains.
fn is_readable(browser: &mut Browser, page: &Path, name: &str, says: &[&str]) {
    let url = format!("file://{}", page.display());
    browser.open(&url);
    browser.until("document.readyState === 'complete' && document.querySelector('#repeat')");
    let text = browser.eval("document.body.innerText").as_str().unwrap().to_owned();
    for part in says {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    for (width, height, scheme) in
        [(1280, 1000, "light"), (1280, 1000, "dark"), (390, 844, "light"), (390, 844, "dark")]
    {
        browser.look(width, height, scheme);
        let dark = browser.eval("getComputedStyle(document.documentElement).backgroundColor");
        assert_eq!(dark == "rgb(255, 255, 255)", scheme == "light", "{dark}");
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
        // No text of a picture is cut off at its frame.
        let cut = browser.eval(
            "[...document.querySelectorAll('svg[viewBox] text')].filter(t => { const b = t.getBBox(), \
             v = t.ownerSVGElement.viewBox.baseVal; return b.width > 0 && (b.x < -1 || b.x + b.width > v.width + 1 || \
             b.y < -2 || b.y + b.height > v.height + 2) }).map(t => t.textContent).join('|')",
        );
        assert_eq!(cut, "", "at {width}");
        browser.picture(&format!("report-{name}-{width}-{scheme}"));
    }
    let pdf = browser.printed();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 10_000, "{} bytes", pdf.len());
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let asked: Vec<String> =
        browser.requested().into_iter().filter(|asked| *asked != url && asked != "about:blank").collect();
    assert_eq!(asked, Vec::<String>::new());
}

#[test]
#[ignore = "needs real parts (chromium): ./check real"]
fn the_report_of_a_cascade_is_readable_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let short = ["run.baseline=5s", "run.fault=8s", "run.recovery=6s"].map(|set| ["--set", set]);
    let args = [&["demo", "--admin", "none", "--out", "out"], short.as_flattened()].concat();
    let ended = brownout(folder.path(), &args);
    let page = folder.path().join("out/report.html");
    assert!(fs::metadata(&page).unwrap().len() < 1_000_000, "{ended:?}");
    let mut browser = Browser::start();
    let says = [
        "FAILED",
        "provider fell ill first",
        "How it spread",
        "Edge by edge",
        "What the callers are made of",
    ];
    is_readable(&mut browser, &page, "demo", &says);
    assert_eq!(browser.eval("document.querySelectorAll('#system .service').length"), 5);
    assert_eq!(browser.eval("document.querySelectorAll('#system .picture .edge.source').length"), 1);
    assert!(browser.eval("document.querySelectorAll('#edges .chart').length").as_u64() >= Some(11));
}

#[test]
#[ignore = "needs real parts (chromium, nginx): ./check real"]
fn names_of_others_stay_names_in_a_report() {
    let (nginx, folder) = (Service::nginx(), tempfile::tempdir().unwrap());
    let evil = "<img src=x onerror=document.title=1>";
    let file = format!(
        "name = 'evil'\ntitle = '</title>{evil}<script>document.title=1</script>'\n\
         [run]\nbaseline = \"1s\"\nfault = \"2s\"\nrecovery = \"1s\"\n\
         [[edge]]\nname = '{evil}'\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"\nfrom = '{evil}'\n\
         [load]\nedge = '{evil}'\nrate = \"30/s\"\n\
         [[fault]]\nname = 'late {evil}'\nedge = '{evil}'\nmatch = \"all\"\nlatency = \"20ms\"\n\
         [[expect]]\nname = 'fast {evil}'\nedge = '{evil}'\np99 = \"< 5s\"\n",
        nginx.url()
    );
    fs::write(folder.path().join("experiment.toml"), file).unwrap();
    let ended = brownout(folder.path(), &["run", "--admin", "none", "experiment.toml"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut browser = Browser::start();
    let page = results(folder.path()).join("report.html");
    is_readable(&mut browser, &page.canonicalize().unwrap(), "evil", &["PASSED", "<img src=x onerror="]);
    assert_eq!(browser.eval("document.querySelectorAll('img, script').length"), 0);
    assert_ne!(browser.eval("document.title"), "1");
}
