import CCurl
import Foundation

@testable import HTTPClient

/// An address to call: what is called must be what was checked, so libcurl has to read it as we do.
func readAddress(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let origin = try? Origin(url: text, allowPlaintext: true) else { return }
    let url = curl_url()
    defer { curl_url_cleanup(url) }
    guard curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK else { return }
    func part(_ part: CURLUPart) -> String? {
        var pointer: UnsafeMutablePointer<CChar>?
        guard curl_url_get(url, part, &pointer, UInt32(CURLU_DEFAULT_PORT)) == CURLUE_OK, let pointer else {
            return nil
        }
        defer { curl_free(pointer) }
        return String(cString: pointer)
    }
    check(part(CURLUPART_USER) == nil && part(CURLUPART_PASSWORD) == nil, "credentials in an address")
    check(part(CURLUPART_SCHEME) == (origin.isPlaintext ? "http" : "https"), "another scheme")
    check(part(CURLUPART_PORT) == String(origin.port), "another port")
    // libcurl writes an IPv6 address in its shortest form.
    let host = part(CURLUPART_HOST)?.lowercased()
    check(host == origin.host || host?.hasPrefix("[") == true && origin.host.hasPrefix("["), "another host")
}

/// The body of a webhook, or of a form of the service center.
func readForm(_ bytes: [UInt8]) {
    guard let form = try? FormValue(urlEncoded: bytes) else { return }
    guard let json = try? JSONEncoder().encode(form) else { fatalError("a form cannot be written down") }
    check((try? JSONSerialization.jsonObject(with: json)) is [String: Any], "a form is no object")
    check(!holdsZero(form), "a zero character goes to PostgreSQL")
    _ = form["data", "email"]
}

private func holdsZero(_ form: FormValue) -> Bool {
    switch form {
    case .text(let text): text.utf8.contains(0)
    case .fields(let fields): fields.contains { $0.key.utf8.contains(0) || holdsZero($0.value) }
    }
}

/// A file of persons: however it is cut into pieces, the same records come out.
func readCSV(_ bytes: [UInt8]) {
    let size = Int(bytes.first ?? 0) % 16 + 1
    let file = Array(bytes.dropFirst())
    let whole = records(of: file, inPiecesOf: max(1, file.count))
    let pieces = records(of: file, inPiecesOf: size)
    check(whole == pieces, "the pieces make a difference")
}

private func records(of file: [UInt8], inPiecesOf size: Int) -> [String] {
    var parser = CSVParser(delimiter: .comma, keepsRaw: true)
    var found: [String] = []
    func add(_ record: CSVRecord) {
        let cells = (0..<record.count).map { record.text($0) }
        check(record.count <= CSVParser.recordLimit, "too many cells")
        found.append("\(record.line) \(record.fault ?? "") \(cells) \(record.raw)")
    }
    do {
        for start in stride(from: 0, to: file.count, by: size) {
            let piece = Array(file[start..<min(start + size, file.count)])
            var position = 0
            while let record = try parser.next(in: piece, at: &position) { add(record) }
        }
        if let record = try parser.finish() { add(record) }
    } catch {
        found.append("\(error)")
    }
    return found
}

/// Stands for the error of the module whose parser is compiled into this program, without all that the module needs.
struct TargetGroupsError: Error {
    enum Code { case badInput }

    var code: Code
    var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
