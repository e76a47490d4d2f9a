import { defineConfig } from "@playwright/test";

// The server is started by the tests themselves (test/server.ts): some of them stop it on purpose.
export default defineConfig({
  testDir: "test",
  outputDir: "test-results",
  timeout: 120_000, // a minute is not enough beside a build on all cores
  expect: { timeout: 20_000 },
  retries: process.env.CI ? 2 : 0, // a loaded machine; what passed only the second time is reported as flaky
  workers: 2,
  fullyParallel: true,
  reporter: [["list"]],
  use: {
    viewport: { width: 1280, height: 800 },
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    },
  },
});
