#!/usr/bin/env bash
# npm 11.19.1 on Node.js 20: of the versions that a range allows, npm takes the newest whose `engines` fit, without a word, and `npm outdated`
# finds nothing to say. With a tag it takes what the tag names.
#
# The guess: `engines` is advice. `npm install convex@^1.48.0` takes 1.49.0, which needs Node.js 22, and warns (EBADENGINE).
# What happens: 1.48.0 is installed without a warning, also by `npm install convex`, though the tag `latest` is 1.49.0. Only
# `convex@latest`, written out, installs 1.49.0 and warns. `npm outdated` prints nothing for 1.48.0 and ends with 0, as if
# there were no newer version.
# What follows: the same package.json without a lock file gives other versions on other machines, by the version of Node.js; what was tested
# on Node.js 20 is not what a user of Node.js 22 gets.
set -euo pipefail
case "$(node --version)" in v20.*) ;; *) echo "this needs Node.js 20"; exit 2 ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir tool && (cd tool && npm init --yes >/dev/null && npm install --no-audit --no-fund --loglevel=error npm@11.19.1 >/dev/null)
npm() { node "$folder/tool/node_modules/npm/bin/npm-cli.js" "$@"; }

# Prints which version is installed for a wish, and how often npm warns.
installed() (
  rm -rf "$folder/app" && mkdir "$folder/app" && cd "$folder/app"
  npm init --yes >/dev/null
  npm install --ignore-scripts --no-audit --no-fund "$1" > output 2>&1
  version=$(node -p 'require("./node_modules/convex/package.json").version')
  echo "$1: $version, $(grep -q EBADENGINE output && echo warned || echo silent)"
)
# Newer versions may come; 1.49.0 is the first that needs Node.js 22.
by_range=$(installed 'convex@>=1.48.0 <=1.49.0')
by_tag=$(installed 'convex@1.49.0')
echo "$by_range"
echo "$by_tag"
[ "$by_range" = "convex@>=1.48.0 <=1.49.0: 1.48.0, silent" ]
[ "$by_tag" = "convex@1.49.0: 1.49.0, warned" ]
installed 'convex@>=1.48.0 <=1.49.0' >/dev/null
outdated=$(cd app && npm outdated 2>/dev/null) && status=0 || status=$?
echo "npm outdated: '${outdated}', exit code $status"
[ "$outdated$status" = 0 ]
[ "$(npm view 'convex@>=1.48.0 <=1.49.0' version --json | tr -d ' \n')" = '["1.48.0","1.49.0"]' ]
echo "as found"
