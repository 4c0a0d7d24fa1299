import Foundation
import IO

/// A real browser without a window, where one is installed.
enum Browser {
    static let path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .first { FileManager.default.isExecutableFile(atPath: $0) }

    /// The document of a page after its script has run for some seconds of the browser's own time.
    static func draw(_ url: String) async throws -> String {
        guard let path else { return "" }
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("koppeling-browser-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        return await output(
            of: "timeout 60 \(path) --headless --no-sandbox --disable-gpu --user-data-dir='\(folder.path)' "
                + "--virtual-time-budget=4000 --dump-dom '\(url)' 2>/dev/null")
    }
}

/// What a command of the shell writes.
func output(of command: String) async -> String {
    await blocking {
        guard let output = popen(command, "r") else { return "" }
        defer { pclose(output) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&buffer, 1, buffer.count, output), count > 0 {
            bytes.append(contentsOf: buffer[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
