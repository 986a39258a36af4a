import { Live } from "./live";
import { tokenOfUser } from "./session";

export default async function Layout({ children }) {
  const isSignedIn = (await tokenOfUser()) !== undefined;
  return (
    <html lang="en">
      <head>
        <link rel="icon" href="data:," />
      </head>
      <body>
        <Live isSignedIn={isSignedIn}>{children}</Live>
      </body>
    </html>
  );
}
