// Opens pages in a real browser: node check.mjs MODULES BROWSER OUT PAGE... [--served ADDRESS PATH...]
//
// A page is a file, a report; what follows --served are pages of a dashboard, at an address.
//
// In light and dark, on a first screen of 1000 x 800, on a phone and on paper: nothing may be requested, no error may
// reach the console, axe must find no violation, text must have contrast, and the first screen must answer. Keeps
// screenshots in OUT. Prints a line per check; ends with 1 when one failed.
import { createRequire } from 'node:module';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, browserPath, out, ...named] = process.argv.slice(2);
const cut = named.includes('--served') ? named.indexOf('--served') : named.length;
const [pages, [address, ...paths]] = [named.slice(0, cut), named.slice(cut + 1)];
const require = createRequire(pathToFileURL(join(resolve(modules), 'x.js')));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const SCREEN = { width: 1000, height: 800 };
const WIDE = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
// WCAG AA for text of ordinary size
const LEAST_CONTRAST = 4.5;

let failed = 0;
function say(page, theme, what, wrong) {
  failed += wrong.length > 0;
  console.log(`${wrong.length > 0 ? 'FAILED' : 'ok    '} ${page} ${theme}: ${what}`);
  wrong.slice(0, 20).forEach((line) => console.log(`         ${line}`));
}

// What a page asks for beyond itself and what belongs to it, and what it complains about.
function watch(page, url, own = []) {
  const seen = { requests: [], errors: [] };
  page.on('request', (request) => {
    if (![url, ...own].includes(request.url()) && !request.url().startsWith('data:')) seen.requests.push(request.url());
  });
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) seen.errors.push(message.text());
  });
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  return seen;
}

const openAll = () => document.querySelectorAll('details').forEach((details) => { details.open = true; });
const overflow = () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  return wide > 0 ? [`the page is ${wide} px wider than the screen`] : [];
};

// The headline, the table of verdicts and its forest plot, without scrolling.
function firstScreen(height) {
  const wrong = [];
  const bottom = (selector) => document.querySelector(selector)?.getBoundingClientRect().bottom;
  for (const selector of ['h1', 'table.verdicts thead', 'table.verdicts tbody tr:first-child', 'table.verdicts tbody svg.plot']) {
    const at = bottom(selector);
    if (!(at <= height)) wrong.push(`${selector} ends at ${at}`);
  }
  const rows = [...document.querySelector('table.verdicts')?.querySelectorAll('tbody tr') ?? []];
  const hidden = rows.slice(0, 7).filter((row) => row.getBoundingClientRect().bottom > height).length;
  if (hidden > 0) wrong.push(`${hidden} of the first rows lie below ${height} px`);
  return wrong;
}

// Contrast of every text with what is behind it, also where axe gives up: text in pictures.
function contrasts(least) {
  const parse = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const light = (color) => {
    const [r, g, b] = parse(color).map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (parse(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = new Map();
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.getClientRects().length || ['title', 'desc', 'style'].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    const [text, back] = [element instanceof SVGElement ? style.fill : style.color, behind(element)];
    const [a, b] = [light(text), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.set(`${text} on ${back}`, `${ratio.toFixed(2)}: ${text} on ${back}, "${element.textContent.trim().slice(0, 40)}"`);
  }
  return [...found.values()];
}

async function accessible(page, name, theme) {
  await page.evaluate(axe);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations', 'incomplete'] }));
  const nodes = (rules) => rules.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target} ${node.failureSummary ?? ''}`.replace(/\s+/g, ' ')));
  say(name, theme, `axe ${result.testEngine.version}: ${result.passes.length} rules passed, ${nodes(result.incomplete).length} places it cannot decide`, nodes(result.violations));
}

// What holds for every page, whatever it shows. In a sandbox axe waits for itself without end: what is shown in one is
// looked at outside of it as well.
async function whole(page, name, theme, sandboxed = false) {
  await page.screenshot({ path: join(out, `${name}-${theme}.png`) });
  await page.evaluate(openAll);
  await page.screenshot({ path: join(out, `${name}-${theme}-whole.png`), fullPage: true });
  say(name, theme, 'as wide as its screen', await page.evaluate(overflow));
  if (!sandboxed) await accessible(page, name, theme);
  say(name, theme, `every text has a contrast of ${LEAST_CONTRAST}`, await page.evaluate(contrasts, LEAST_CONTRAST));
  await page.setViewportSize(PHONE);
  say(name, theme, 'as wide as a phone', await page.evaluate(overflow));
  await page.screenshot({ path: join(out, `${name}-${theme}-phone.png`) });
}

async function inTheme(browser, file, theme) {
  const [name, url] = [basename(file, '.html'), pathToFileURL(resolve(file)).href];
  const context = await browser.newContext({ viewport: SCREEN, colorScheme: theme });
  const page = await context.newPage();
  const seen = watch(page, url);
  await page.goto(url, { waitUntil: 'load' });
  say(name, theme, 'the first screen has headline, table of verdicts and forest plot', await page.evaluate(firstScreen, SCREEN.height));
  await whole(page, name, theme);
  say(name, theme, 'no request', seen.requests);
  say(name, theme, 'no error in the console', seen.errors);
  await context.close();
}

// A page of the dashboard: its style and icon belong to it; nothing in it is clicked that is not there for a keyboard.
async function served(browser, path, theme) {
  const name = `farm${path.replace(/\W+/g, '-').slice(0, 60).replace(/-$/, '') || '-fleet'}`;
  const context = await browser.newContext({ viewport: WIDE, colorScheme: theme });
  const page = await context.newPage();
  const url = address + path;
  const seen = watch(page, url, ['/style.css', '/icon.svg'].map((own) => address + own));
  const answer = await page.goto(url, { waitUntil: 'load' });
  say(name, theme, `${path} is there`, answer.status() === 200 ? [] : [`status ${answer.status()}`]);
  say(name, theme, 'names that were chosen to do harm are text', (await page.title()) === 'taken' ? ['a script ran'] : []);
  if (!path.includes('/runs/')) {
    await page.keyboard.press('Tab');
    const first = await page.evaluate(() => [document.activeElement.textContent, document.activeElement.getBoundingClientRect().left >= 0]);
    say(name, theme, 'the first key leads to the content', first[0].includes('content') && first[1] ? [] : [String(first)]);
    await page.evaluate(() => document.activeElement.blur());
  }
  await whole(page, name, theme, path.includes('/runs/'));
  say(name, theme, 'no request beyond its own', seen.requests);
  say(name, theme, 'no error in the console', seen.errors);
  await context.close();
}

// Paper has no folds: everything that is folded on a screen must be there. And nothing needs a script.
async function onPaper(browser, file) {
  const [name, url] = [basename(file, '.html'), pathToFileURL(resolve(file)).href];
  const context = await browser.newContext({ viewport: SCREEN, colorScheme: 'dark', javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(url, { waitUntil: 'load' });
  const rows = await page.locator('table.verdicts tbody tr').count();
  say(name, 'without scripts', `${rows} rows of verdicts`, rows > 0 ? [] : ['no row']);
  await page.emulateMedia({ media: 'print' });
  await page.pdf({ path: join(out, `${name}.pdf`), format: 'A4', printBackground: true, margin: { top: '12mm', bottom: '12mm', left: '10mm', right: '10mm' } });
  const folded = await page.locator('details:not([open]) :is(table, svg)').all();
  let hidden = 0;
  for (const element of folded.slice(0, 40)) hidden += (await element.boundingBox())?.height > 0 ? 0 : 1;
  say(name, 'on paper', `${folded.length} tables and pictures that are folded on a screen`, hidden > 0 ? [`${hidden} of them are not printed`] : []);
  await context.close();
}

mkdirSync(out, { recursive: true });
const profile = mkdtempSync(join(tmpdir(), 'bench-browser-'));
const browser = await chromium.launch({ executablePath: browserPath, args: ARGS, env: { ...process.env, HOME: profile } });
try {
  for (const file of pages) {
    for (const theme of ['light', 'dark']) await inTheme(browser, file, theme);
    await onPaper(browser, file);
  }
  for (const path of paths) {
    for (const theme of ['light', 'dark']) await served(browser, path, theme);
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(failed === 0 ? `all well; screenshots are in ${out}` : `${failed} checks failed; screenshots are in ${out}`);
process.exitCode = failed === 0 ? 0 : 1;
