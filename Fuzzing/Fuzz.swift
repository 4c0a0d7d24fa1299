import Glibc

/// What libFuzzer calls with one input after another.
@c(LLVMFuzzerTestOneInput)
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    parser(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Everything that reads bytes from outside, by the names that scripts/fuzz knows them by.
private let parsers: [String: @Sendable ([UInt8]) -> Void] = [
    "addresses": readAddress,
    "csv": readCSV,
    "errors": readError,
    "forms": readForm,
    "keys": readKey,
    "members": readMembers,
    "moments": readMoment,
    "pages": readPage,
    "responses": readResponse,
    "signatures": readSignature,
]

private let parser: @Sendable ([UInt8]) -> Void = {
    let name = getenv("KOPPELING_FUZZ").map { String(cString: $0) } ?? ""
    guard let parser = parsers[name] else {
        print("KOPPELING_FUZZ is \"\(name)\": set it to one of \(parsers.keys.sorted().joined(separator: ", ")).")
        exit(2)
    }
    return parser
}()

/// Ends the run, and so keeps the input, when something does not hold that must hold for every input.
func check(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { fatalError(message()) }
}
