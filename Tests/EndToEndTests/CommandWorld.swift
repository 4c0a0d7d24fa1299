import Foundation
import HTTPClient
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

/// A sandbox, and the settings with which the program finds it and the database of the running test.
struct CommandWorld {
    static let key = "00000000000000000000000000000001-us1"

    let server: MailchimpSandbox
    let settings: [String: String]
    private let folder: URL

    /// Runs the body with a sandbox of its own.
    static func run(_ more: [String: String] = [:], _ body: (CommandWorld) async throws -> Void) async throws {
        var configuration = SandboxConfiguration()
        configuration.controlDoorIsOpen = true
        let server = MailchimpSandbox(configuration: configuration)
        let root = "http://127.0.0.1:\(try await server.start())"
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        let result: Result<Void, any Error>
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let settings = [
                "KOPPELING_MAILCHIMP_URL": root, "LOG_LEVEL": "warning", "USER": "ann",
                "KOPPELING_SECRET_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
                "DATABASE_URL": try TestDatabase.current.settings.connectionString(),
            ].merging(more) { $1 }
            result = .success(try await body(CommandWorld(server: server, settings: settings, folder: folder)))
        } catch {
            result = .failure(error)
        }
        try? FileManager.default.removeItem(at: folder)
        await server.stop()
        try result.get()
    }

    /// Runs a command, its arguments between spaces or as they are given, and expects it to do it.
    @discardableResult
    func done(
        _ command: String, _ arguments: String..., input: String = "", at location: SourceLocation = #_sourceLocation
    ) async throws -> Run {
        let run = try await koppeling(Self.words(command) + arguments, settings, input: input)
        #expect(run.code == 0, "\(command) \(arguments): \(run.errors)", sourceLocation: location)
        return run
    }

    /// Runs a command that must be refused in one line, by code 1 unless it is called wrongly, and returns the line.
    func refused(
        _ command: String, _ arguments: String..., code: Int32 = 1, at location: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let run = try await koppeling(Self.words(command) + arguments, settings)
        #expect(run.code == code && run.output.isEmpty, "\(command) \(arguments)", sourceLocation: location)
        #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)", sourceLocation: location)
        return run.errors
    }

    /// The path of a file with these lines.
    func file(_ name: String, _ lines: String...) throws -> String {
        let path = folder.appending(path: name)
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: path)
        return path.path
    }

    /// Links a list as "News", and puts so many persons of the newsletter.
    func link(persons: Int) async throws {
        await server.addList(name: "Nieuwsbrief")
        try await done("account connect --name Instituut", input: CommandWorld.key)
        let linked = try await done("instance link Instituut --name News")
        #expect(linked.output == "1  News  Mailchimp - News\n")
        let list = (1...persons).map {
            #"{"source": "crm", "id": "\#($0)", "given_name": "Jan", "family_name": "Berg \#($0)", "gender": "vrouw", "categories": ["Mailings / News"], "emails": {"zakelijk": "p\#($0)@post.koppeling.nl"}}"#
        }
        try await done("person put", input: "[\(list.joined(separator: ","))]")
    }

    /// Withdraws the key at Mailchimp's.
    func revokeKey() async throws {
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        let root = settings["KOPPELING_MAILCHIMP_URL"] ?? ""
        let account: String = try await TestDatabase.current.pool.query(
            "select account_id from koppeling.mailchimp_account"
        ).scalar()
        let answer = try await http.send(
            HTTPRequest(
                method: "PATCH", url: "\(root)/sandbox/accounts/\(account)",
                headers: [("Content-Type", "application/json")],
                body: Array(#"{"revoke_key": "\#(Self.key)"}"#.utf8)))
        try #require(answer.status == 200)
    }

    private static func words(_ command: String) -> [String] { command.split(separator: " ").map(String.init) }
}

extension Run {
    /// The lines of a listing with `--json`.
    func decode<Line: Decodable>(_ type: Line.Type = Line.self) throws -> [Line] {
        try lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    /// The table without the spaces between its cells: the words of each line.
    var table: [[String]] { lines.map { $0.split(separator: " ").map(String.init) } }
}
