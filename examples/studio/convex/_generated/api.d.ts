/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type * as auth from "../auth.js";
import type * as captions from "../captions.js";
import type * as crons from "../crons.js";
import type * as darkroom from "../darkroom.js";
import type * as dates from "../dates.js";
import type * as digests from "../digests.js";
import type * as http from "../http.js";
import type * as people from "../people.js";
import type * as pictures from "../pictures.js";
import type * as prints from "../prints.js";
import type * as signatures from "../signatures.js";

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";

declare const fullApi: ApiFromModules<{
  auth: typeof auth;
  captions: typeof captions;
  crons: typeof crons;
  darkroom: typeof darkroom;
  dates: typeof dates;
  digests: typeof digests;
  http: typeof http;
  people: typeof people;
  pictures: typeof pictures;
  prints: typeof prints;
  signatures: typeof signatures;
}>;

/**
 * A utility for referencing Convex functions in your app's public API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;

/**
 * A utility for referencing Convex functions in your app's internal API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = internal.myModule.myFunction;
 * ```
 */
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;

export declare const components: {};
