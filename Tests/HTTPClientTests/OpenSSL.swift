import Foundation
import IO
import Testing

/// The openssl program as a TLS server with a certificate of its own making.
enum OpenSSL {
    static let program = ["/usr/bin/openssl", "/usr/local/bin/openssl"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    static var isInstalled: Bool { program != nil }

    /// A running server.
    struct Server {
        let url: String
        /// The file with the certificate, which is its own authority.
        let certificate: String
    }

    /// Runs a test with a server whose certificate, signed by itself, names this host.
    static func withServer(
        for host: String, options: [String] = [], _ body: (Server) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("koppeling-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let key = folder.appendingPathComponent("key.pem").path
        let certificate = folder.appendingPathComponent("certificate.pem").path
        let request = try Child(
            try #require(program),
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-keyout", key, "-out", certificate, "-subj", "/CN=\(host)", "-addext", "subjectAltName=DNS:\(host)",
            ])
        await blocking { request.end() }
        let server = try Child(
            try #require(program),
            ["s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate, "-www"] + options)
        let outcome: Result<Void, any Error>
        do {
            // It says "ACCEPT 127.0.0.1:12345" once it listens.
            let line = await blocking { server.line(startingWith: "ACCEPT ") }
            let port = try #require(line?.split(separator: ":").last)
            outcome = .success(try await body(Server(url: "https://localhost:\(port)/", certificate: certificate)))
        } catch {
            outcome = .failure(error)
        }
        await blocking {
            server.terminate()
            server.end()
        }
        try outcome.get()
    }
}

/// A program that was started, and what it writes; Foundation's own kind leaks when no run loop runs.
///
/// `@unchecked Sendable`: handed from one call to the next, never used by two at once.
private final class Child: @unchecked Sendable {
    private var process: pid_t = 0
    private let output: UnsafeMutablePointer<FILE>

    init(_ program: String, _ arguments: [String]) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, let output = fdopen(ends[0], "r") else { throw POSIXError(.EMFILE) }
        self.output = output
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var words = ([program] + arguments).map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        let status = posix_spawn(&process, program, &actions, nil, &words, environ)
        close(ends[1])
        guard status == 0 else { throw POSIXError(.ENOENT) }
    }

    deinit {
        fclose(output)
    }

    /// Reads until a line begins so; nil when the program ends before.
    func line(startingWith prefix: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 1024)
        while fgets(&buffer, Int32(buffer.count), output) != nil {
            let line = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if line.hasPrefix(prefix) { return line.trimmingCharacters(in: .whitespacesAndNewlines) }
        }
        return nil
    }

    /// Not SIGTERM, which the thread that started it may block, and the program with it.
    func terminate() {
        kill(process, SIGKILL)
    }

    /// Waits for the program's end.
    func end() {
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }
}
