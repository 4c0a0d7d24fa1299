// swift-tools-version: 6.3
import PackageDescription

/// What a benchmark is compiled with: as the modules it measures.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .strictMemorySafety(),
]

let package = Package(
    name: "koppeling-benchmarks",
    products: [
        .executable(name: "queue-bench", targets: ["queue-bench"])
    ],
    dependencies: [
        .package(name: "koppeling", path: ".."),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .executableTarget(
            name: "queue-bench",
            dependencies: [
                .product(name: "JobQueue", package: "koppeling"),
                .product(name: "EmbeddedPostgres", package: "koppeling"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict)
    ],
    swiftLanguageModes: [.v6]
)
