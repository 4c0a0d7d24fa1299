// swift-tools-version: 6.3
import PackageDescription

/// What every target of ours is compiled with: accepted proposals that a coming language mode turns on.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
]

/// The domain holds no unsafe pointer, and the compiler proves it.
let safe: [SwiftSetting] = strict + [.strictMemorySafety()]

let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nio = [nioCore] + ["NIOPosix", "NIOHTTP1"].map { .product(name: $0, package: "swift-nio") }
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let testSupport = Target.Dependency.target(name: "TestSupport")

let package = Package(
    name: "koppeling",
    products: [
        .executable(name: "koppeling", targets: ["koppeling"]),
        .executable(name: "mailchimp-sandbox", targets: ["mailchimp-sandbox"]),
        // With what its own interface speaks of.
        .library(name: "JobQueue", targets: ["JobQueue", "Postgres", "IO"]),
        .library(name: "JobQueueTesting", targets: ["JobQueueTesting"]),
        .library(name: "EmbeddedPostgres", targets: ["EmbeddedPostgres"]),
    ],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        // Comes with Hummingbird; the sandbox delivers webhooks and cuts connections with it.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // The C libraries, as Debian ships them.
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CEpoll"),

        // The edges: each owns its unsafe code, so strict memory safety is off in these.
        .target(name: "IO", dependencies: ["CEpoll"], swiftSettings: strict),
        .target(name: "Postgres", dependencies: ["CLibPQ", "IO", logging], swiftSettings: strict),
        .target(name: "HTTPClient", dependencies: ["CCurl", "IO"], swiftSettings: strict),
        .target(name: "EmbeddedPostgres", dependencies: ["CEpoll", "IO", "Postgres", logging], swiftSettings: strict),

        // The domain.
        .target(name: "JobQueue", dependencies: ["IO", "Postgres", logging, metrics, lifecycle], swiftSettings: safe),
        .target(name: "JobQueueTesting", dependencies: ["JobQueue", "Postgres", logging], swiftSettings: safe),
        .target(name: "TargetGroups", dependencies: ["IO", "Postgres", "JobQueue", logging], swiftSettings: safe),
        .target(name: "Mailchimp", dependencies: ["IO", "HTTPClient", crypto, logging], swiftSettings: safe),
        .target(
            name: "Connector",
            dependencies: [
                "IO", "Postgres", "JobQueue", "TargetGroups", "Mailchimp", "HTTPClient", crypto, logging, metrics,
                lifecycle,
            ],
            swiftSettings: safe),
        .target(
            name: "ServiceCenter",
            dependencies: [
                "IO", "Postgres", "JobQueue", "TargetGroups", "Connector", hummingbird, crypto, logging, metrics,
                lifecycle, nioCore,
            ],
            swiftSettings: safe),

        // The stand-in for Mailchimp shares no code with the client, so that neither can hide the other's mistake.
        .target(
            name: "MailchimpSandbox", dependencies: [hummingbird, crypto, logging, lifecycle] + nio,
            // The page, which is in the program so that nothing has to lie beside it.
            resources: ["page.html", "page.css", "page.js", "acts.js"].map { .embedInCode("Page/\($0)") },
            swiftSettings: safe),

        // The programs.
        .executableTarget(
            name: "koppeling",
            dependencies: [
                "IO", "Postgres", "HTTPClient", "EmbeddedPostgres", "JobQueue", "TargetGroups", "Mailchimp",
                "Connector", "ServiceCenter", "MailchimpSandbox", arguments, configuration, logging, metrics, lifecycle,
                signals, nioCore, .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: safe),
        .executableTarget(
            name: "mailchimp-sandbox", dependencies: ["MailchimpSandbox", arguments, logging, lifecycle, signals],
            swiftSettings: safe),

        // Tests: a folder a module.
        .target(
            name: "TestSupport", dependencies: ["IO", "Postgres", "EmbeddedPostgres", logging],
            path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(name: "IOTests", dependencies: ["IO", testSupport], swiftSettings: strict),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "IO", testSupport], swiftSettings: strict),
        .testTarget(
            name: "EmbeddedPostgresTests", dependencies: ["EmbeddedPostgres", "Postgres", "IO", logging, testSupport],
            swiftSettings: strict),
        .testTarget(
            name: "HTTPClientTests", dependencies: ["HTTPClient", "IO", testSupport], swiftSettings: strict),
        .testTarget(
            name: "JobQueueTests",
            dependencies: ["JobQueue", "JobQueueTesting", "Postgres", "IO", logging, lifecycle, testSupport],
            swiftSettings: strict),
        .testTarget(
            name: "TargetGroupsTests",
            dependencies: ["TargetGroups", "JobQueue", "Postgres", "IO", logging, testSupport],
            swiftSettings: strict),
        .testTarget(
            name: "MailchimpTests",
            dependencies: ["Mailchimp", "HTTPClient", "IO", "Postgres", "MailchimpSandbox", testSupport],
            swiftSettings: strict),
        .testTarget(
            name: "MailchimpSandboxTests",
            dependencies: ["MailchimpSandbox", "HTTPClient", "IO", hummingbird, logging, testSupport] + nio,
            swiftSettings: strict),
        .testTarget(
            name: "ConnectorTests",
            dependencies: [
                "Connector", "TargetGroups", "JobQueue", "Mailchimp", "HTTPClient", "Postgres", "IO",
                "MailchimpSandbox", logging, testSupport,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ServiceCenterTests",
            dependencies: [
                "ServiceCenter", "HTTPClient", "Connector", "Mailchimp", "MailchimpSandbox", "JobQueue", "Postgres",
                "IO",
                logging, metrics, testSupport,
            ],
            swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests",
            dependencies: ["koppeling", "HTTPClient", "IO", "MailchimpSandbox", "Postgres", testSupport],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
