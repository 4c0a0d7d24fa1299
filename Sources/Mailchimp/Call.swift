import FoundationEssentials

/// One call, before it becomes a request.
struct Call {
    var method: String
    var path: [String]
    var query: [(name: String, value: String)] = []
    var body: [UInt8]?
    var maximumBody = 16 << 20

    static func get(_ path: String..., query: [(name: String, value: String)] = []) -> Call {
        Call(method: "GET", path: path, query: query)
    }

    /// A call with a JSON body.
    static func write(
        _ method: String, _ path: String..., query: [(name: String, value: String)] = [], json: some Encodable
    ) throws(MailchimpError) -> Call {
        Call(method: method, path: path, query: query, body: try Call.json(json))
    }

    static func json(_ value: some Encodable) throws(MailchimpError) -> [UInt8] {
        do {
            return Array(try JSONEncoder().encode(value))
        } catch {
            throw MailchimpError(.schema, detail: "The call's body cannot be written as JSON: a number that is none?")
        }
    }

    /// The path and query, encoded, to be put behind the root.
    var target: String {
        let path = path.map { "/" + percentEncoded($0) }.joined()
        let query = query.map { "\(percentEncoded($0.name))=\(percentEncoded($0.value))" }.joined(separator: "&")
        return (path.isEmpty ? "/" : path) + (query.isEmpty ? "" : "?" + query)
    }
}

/// The text with everything encoded that could end a part of a path or of a query.
///
/// A part of dots only is encoded too, because it would climb to another resource.
func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".unicodeScalars)
    let isDots = text.utf8.allSatisfy { $0 == UInt8(ascii: ".") }
    var encoded = String.UnicodeScalarView()
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
            encoded.append(Unicode.Scalar(byte))
        case UInt8(ascii: ".") where !isDots:
            encoded.append(Unicode.Scalar(byte))
        default:
            encoded.append("%")
            encoded.append(digits[Int(byte >> 4)])
            encoded.append(digits[Int(byte & 15)])
        }
    }
    return String(encoded)
}
