// Appended to a copy of Package.swift by scripts/sanitize: only the layers that touch C and threads, with their tests.
let lowLayers: Set<String> = [
    "CLibPQ", "CCurl", "CEpoll", "IO", "Postgres", "HTTPClient", "EmbeddedPostgres", "JobQueue", "JobQueueTesting",
    "TestSupport", "IOTests", "PostgresTests", "HTTPClientTests", "JobQueueTests",
]
let lowDependencies = ["swift-log", "swift-metrics", "swift-service-lifecycle"]
package.products = []
package.targets.removeAll { !lowLayers.contains($0.name) }
package.dependencies.removeAll { dependency in
    guard case .sourceControl(_, let location, _) = dependency.kind else { return false }
    return !lowDependencies.contains { location.hasSuffix("/" + $0) }
}
