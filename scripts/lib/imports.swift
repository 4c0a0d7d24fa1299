// Checks who imports whom: the manifest's dependencies against the order of the modules, and the `import` lines of the
// sources against the manifest. Run by scripts/lint with the output of `swift package dump-package`.
import Foundation

/// The modules, lowest first: each may depend on those before it.
let order = [
    "CLibPQ", "CCurl", "CEpoll", "IO", "Postgres", "HTTPClient", "EmbeddedPostgres", "JobQueue", "JobQueueTesting",
    "TargetGroups", "Mailchimp", "Connector", "ServiceCenter", "MailchimpSandbox", "koppeling", "mailchimp-sandbox",
]

/// What a module must not know although it stands lower.
let forbidden: [String: Set<String>] = [
    "Postgres": ["CCurl"],
    "HTTPClient": ["CLibPQ", "Postgres"],
    "JobQueue": ["HTTPClient", "EmbeddedPostgres"],
    "TargetGroups": ["HTTPClient", "EmbeddedPostgres"],
    "Mailchimp": ["Postgres", "EmbeddedPostgres", "JobQueue", "TargetGroups"],
    "Connector": ["EmbeddedPostgres"],
    "ServiceCenter": ["Mailchimp", "HTTPClient", "EmbeddedPostgres"],
    "MailchimpSandbox": Set(order).subtracting(["MailchimpSandbox"]),
    "mailchimp-sandbox": Set(order).subtracting(["MailchimpSandbox", "mailchimp-sandbox"]),
]

struct Target {
    var name: String
    var isTest: Bool
    var folder: String
    /// Targets of this package and products of others, by name.
    var dependencies: Set<String>
}

func targets(of manifest: URL) throws -> [Target] {
    let root = try JSONSerialization.jsonObject(with: Data(contentsOf: manifest)) as? [String: Any]
    let list = root?["targets"] as? [[String: Any]] ?? []
    return list.compactMap { target in
        guard let name = target["name"] as? String else { return nil }
        let dependencies = (target["dependencies"] as? [[String: Any]] ?? []).compactMap { dependency in
            (dependency.values.first as? [Any])?.first as? String
        }
        let isTest = target["type"] as? String == "test" || name == "TestSupport"
        let folder = target["path"] as? String ?? (isTest ? "Tests/" : "Sources/") + name
        return Target(name: name, isTest: isTest, folder: folder, dependencies: Set(dependencies))
    }
}

/// The modules named by the `import` lines of a file, each with its line number.
func imports(in text: String) -> [(line: Int, module: String)] {
    text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
        let words = line.split(separator: " ")
        let modifiers: Set<Substring> = [
            "public", "package", "internal", "fileprivate", "private", "@testable", "@preconcurrency",
        ]
        let rest = words.drop { modifiers.contains($0) || $0.hasPrefix("@_spi(") }
        guard rest.first == "import", let last = rest.dropFirst().last(where: { !$0.hasPrefix("//") }) else {
            return nil
        }
        return (index + 1, String(last.split(separator: ".")[0]))
    }
}

guard CommandLine.arguments.count == 2 else {
    print("usage: swift scripts/lib/imports.swift MANIFEST.json")
    exit(2)
}
var problems: [String] = []
let all = try targets(of: URL(fileURLWithPath: CommandLine.arguments[1]))
let ours = Set(all.map(\.name))
let foreign = all.reduce(into: Set<String>()) { $0.formUnion($1.dependencies) }.subtracting(ours)

for target in all where !target.isTest {
    guard let position = order.firstIndex(of: target.name) else {
        problems.append(
            "\(target.name) has no place in the order of the modules: give it one in scripts/lib/imports.swift.")
        continue
    }
    for dependency in target.dependencies.intersection(ours).sorted() {
        let below = order.firstIndex(of: dependency).map { $0 < position } ?? false
        if !below || forbidden[target.name, default: []].contains(dependency) {
            problems.append("Package.swift: \(target.name) must not depend on \(dependency).")
        }
    }
}

for target in all {
    let files = FileManager.default.enumerator(atPath: target.folder)?.compactMap { $0 as? String } ?? []
    for file in files.sorted() where file.hasSuffix(".swift") {
        let path = target.folder + "/" + file
        for (line, module) in imports(in: try String(contentsOfFile: path, encoding: .utf8))
        where ours.union(foreign).contains(module) && module != target.name && !target.dependencies.contains(module) {
            problems.append("\(path):\(line): imports \(module), which Package.swift does not give to \(target.name).")
        }
    }
}

for problem in problems {
    print(problem)
}
exit(problems.isEmpty ? 0 : 1)
