import FoundationEssentials
import TargetGroups
import TestSupport

/// A file to import in a folder of its own, removed with the last user.
final class ImportFile: Sendable {
    let path: String
    private let folder: URL

    convenience init(_ text: String) throws {
        try self.init(Array(text.utf8))
    }

    init(_ bytes: [UInt8]) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "koppeling-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let file = folder.appending(path: "persons.csv")
        try Data(bytes).write(to: file)
        path = file.path
    }

    deinit {
        try? FileManager.default.removeItem(at: folder)
    }

    /// Imports the file into the database of the running test.
    func run(_ kind: ImportKind = .persons, rejects: Bool = false) async throws -> ImportReport {
        try await FileImport(kind, path: path, rejects: rejects ? path + ".rejects" : nil).run(
            in: TestDatabase.current.pool)
    }

    /// The rows that were rejected.
    func rejects() throws -> String {
        String(decoding: try Data(contentsOf: URL(filePath: path + ".rejects")), as: UTF8.self)
    }
}
