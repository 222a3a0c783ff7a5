// A micro-frontend with the authentication service that all of Open edX's pages
// use, and nothing else: it lives through an hour, a wrong clock and a sign-out,
// and reports what it saw.
import AxiosJwtAuthService from '@edx/frontend-platform/auth/AxiosJwtAuthService';

const settings = JSON.parse(decodeURIComponent(window.location.hash.slice(1)));
const logged = [];
const log = (what) => { logged.push(String((what && what.message) || what)); };

// How far the page's clock is ahead of the machine's, in milliseconds.
let ahead = 0;
const wallClock = Date.now.bind(Date);
Date.now = () => wallClock() + ahead;

const service = () => new AxiosJwtAuthService({
  config: {
    BASE_URL: window.location.origin,
    LMS_BASE_URL: settings.lms,
    LOGIN_URL: `${settings.lms}/login`,
    LOGOUT_URL: `${settings.lms}/logout`,
    REFRESH_ACCESS_TOKEN_ENDPOINT: `${settings.lms}/login_refresh`,
    ACCESS_TOKEN_COOKIE_NAME: 'edx-jwt-cookie-header-payload',
    CSRF_TOKEN_API_PATH: '/csrf/api/v1/token',
  },
  loggingService: { logError: log, logInfo: log, setCustomAttribute: () => {} },
});

// asked counts the requests to a path so far.
const asked = (path) => performance.getEntriesByType('resource').filter((e) => new URL(e.name).pathname === path).length;

const order = async (path) => {
  const response = await fetch(path, { method: 'POST' });
  if (!response.ok) {
    throw new Error(`${path} was answered ${response.status}`);
  }
};

async function story() {
  const seen = {};
  performance.setResourceTimingBufferSize(1000);
  const auth = service();

  // It opens with a web session and no token.
  seen.before = document.cookie;
  await auth.ensureAuthenticatedUser();
  await auth.hydrateAuthenticatedUser();
  seen.user = auth.getAuthenticatedUser();
  seen.visible = document.cookie.split('; ').map((c) => c.split('=')[0]).sort();

  // Many parts of the page ask at once: one refresh.
  let count = asked('/login_refresh');
  await Promise.all(Array.from({ length: 8 }, () => auth.fetchAuthenticatedUser({ forceRefresh: true })));
  seen.refreshesOfEight = asked('/login_refresh') - count;

  // A call that changes something brings the CSRF token of its host.
  const sent = await auth.getAuthenticatedHttpClient()
    .post(`${settings.lms}/api/user/v1/accounts/${seen.user.username}`, {}, { validateStatus: () => true });
  seen.post = sent.status;
  seen.csrf = Boolean(sent.config.headers['X-CSRFToken']) && document.cookie.includes(`csrftoken=${sent.config.headers['X-CSRFToken']}`);

  // Hours pass.
  await order('/advance');
  ahead += settings.seconds * 1000;
  count = asked('/login_refresh');
  seen.later = (await auth.fetchAuthenticatedUser()).username;
  seen.laterRefreshes = asked('/login_refresh') - count;

  // Clocks that are an hour wrong.
  for (const [name, wrong] of [['fast', 3600e3], ['slow', -3600e3]]) {
    ahead += wrong;
    seen[name] = (await auth.fetchAuthenticatedUser()).username;
    ahead -= wrong;
  }

  // A page that is opened again finds its token.
  count = asked('/login_refresh');
  seen.again = (await service().fetchAuthenticatedUser()).username;
  seen.againRefreshes = asked('/login_refresh') - count;

  // The device is signed out.
  await order('/end');
  seen.ended = await auth.fetchAuthenticatedUser({ forceRefresh: true });
  seen.left = document.cookie.includes('edx-jwt-cookie-header-payload');
  return seen;
}

story().then(
  (seen) => ({ ...seen, logged }),
  (error) => ({ error: `${error.message} ${JSON.stringify(error.customAttributes || {})}`, logged }),
).then((report) => fetch('/report', { method: 'POST', body: JSON.stringify(report) }));
