// The API layer that many React applications of djangorestframework-simplejwt
// have: an axios instance whose interceptors fetch a new access token when the
// old one has run out, and that takes every 401 for a sign-out. It is written to
// be served as it is, weaknesses included: calls that start together each refresh
// by themselves with the same refresh token, and whoever is told 401 first throws
// away what the others have just stored.
import axios from "axios";
import { jwtDecode } from "jwt-decode";

const ACCESS = "access";
const REFRESH = "refresh";

// TIMEOUT is how long one request may take, in milliseconds.
const TIMEOUT = 20_000;

export function createClient({ baseURL, tokenPath, storage, onSignedOut }) {
  const api = axios.create({ baseURL, timeout: TIMEOUT }); // calls of the application
  const auth = axios.create({ baseURL, timeout: TIMEOUT }); // sign-in and refresh

  const runOut = (token) => jwtDecode(token).exp * 1000 < Date.now();

  const keep = ({ access, refresh }) => {
    storage.setItem(ACCESS, access);
    if (refresh) {
      storage.setItem(REFRESH, refresh);
    }
  };

  const signOut = (why) => {
    storage.removeItem(ACCESS);
    storage.removeItem(REFRESH);
    onSignedOut(why);
  };

  api.interceptors.request.use(async (config) => {
    let access = storage.getItem(ACCESS);
    const refresh = storage.getItem(REFRESH);
    if (access && refresh && runOut(access) && !runOut(refresh)) {
      const { data } = await auth.post(tokenPath + "refresh/", { refresh });
      keep(data);
      access = data.access;
    }
    if (access) {
      config.headers.Authorization = `Bearer ${access}`;
    }
    return config;
  });

  const onError = (error) => {
    if (error.response && error.response.status === 401) {
      signOut(error.response.data?.detail ?? error.response.data?.error ?? "401");
    }
    return Promise.reject(error);
  };
  api.interceptors.response.use((response) => response, onError);
  auth.interceptors.response.use((response) => response, onError);

  return {
    api,
    // signIn resolves with the user's number, which the application reads from
    // the token.
    async signIn(username, password) {
      const { data } = await auth.post(tokenPath, { username, password });
      keep(data);
      return jwtDecode(data.refresh).user_id;
    },
    signedIn: () => storage.getItem(ACCESS) !== null && storage.getItem(REFRESH) !== null,
    // claims are what the application reads from its tokens.
    claims: () => ({ access: jwtDecode(storage.getItem(ACCESS)), refresh: jwtDecode(storage.getItem(REFRESH)) }),
  };
}
