// The app signs its users' tokens itself, and publishes the keys by its own HTTP actions.
export default { providers: [{ domain: process.env.CONVEX_SITE_URL, applicationID: "convex" }] };
