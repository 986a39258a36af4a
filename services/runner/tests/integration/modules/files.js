import { ask, mutation, query } from "./_deps/library.js";

export const uploadUrl = mutation(() => ask("1.0/storageGenerateUploadUrl"));

export const remove = mutation((_, { file }) => ask("1.0/storageDelete", { storageId: file }));

export const url = query((_, { file }) => ask("1.0/storageGetUrl", { storageId: file }));

export const metadata = query((_, { file }) => ask("1.0/storageGetMetadata", { storageId: file }));

export const askInQuery = query((_, { operation }) => ask(operation, { storageId: "x" }));

export const askInMutation = mutation((_, { operation }) => ask(operation, { storageId: "x" }));
