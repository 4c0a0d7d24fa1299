import Foundation
import IO
import Testing

/// The openssl program as a TLS server with a certificate of its own making.
enum OpenSSL {
    static let program = ["/usr/bin/openssl", "/usr/local/bin/openssl"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    static var isInstalled: Bool { program != nil }

    /// Starts a server whose certificate, signed by itself, names this host.
    static func server(for host: String, options: [String] = []) async throws -> Server {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("koppeling-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let key = folder.appendingPathComponent("key.pem").path
        let certificate = folder.appendingPathComponent("certificate.pem").path
        let request = try start([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", key, "-out", certificate, "-subj", "/CN=\(host)", "-addext", "subjectAltName=DNS:\(host)",
        ])
        for await _ in request.ends {}
        let arguments = ["s_server", "-accept", "127.0.0.1:0", "-key", key, "-cert", certificate, "-www"] + options
        let server = try start(arguments)
        let output = server.output
        let listening = await blocking { port(saidBy: output) }
        let number = try #require(listening)
        return Server(
            process: server.process, folder: folder, certificate: certificate, url: "https://localhost:\(number)/")
    }

    /// It says "ACCEPT 127.0.0.1:12345" once it listens.
    private static func port(saidBy output: FileHandle) -> Int? {
        var said = Data()
        while case let piece = output.availableData, !piece.isEmpty {
            said += piece
            let lines = String(decoding: said, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            guard let line = lines.dropLast().first(where: { $0.hasPrefix("ACCEPT ") }) else { continue }
            return line.split(separator: ":").last.flatMap { Int($0) }
        }
        return nil
    }

    private static func start(
        _ arguments: [String]
    ) throws -> (process: Process, output: FileHandle, ends: AsyncStream<Void>) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(program))
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        let (ends, continuation) = AsyncStream<Void>.makeStream()
        process.terminationHandler = { _ in continuation.finish() }
        try process.run()
        return (process, output.fileHandleForReading, ends)
    }

    /// A running server.
    struct Server {
        let process: Process
        let folder: URL
        let certificate: String
        let url: String

        func stop() {
            process.terminate()
            try? FileManager.default.removeItem(at: folder)
        }
    }
}
