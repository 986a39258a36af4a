/** The app issues the tokens of its users itself: `http.ts` serves the key that they are verified with. */
export default {
  providers: [{ domain: process.env.CONVEX_SITE_URL, applicationID: "convex" }],
};
