/// The clock through the control door: it runs with real time and can be put forward.
extension World {
    func clockDoor(_ call: Call) throws(Problem) -> JSON {
        switch call.method {
        case "GET": break
        case "POST":
            guard let seconds = try call.object()["advance"]?.integer, (0...Self.longestAdvance).contains(seconds)
            else {
                throw Self.wrong("advance is a number of seconds, from 0 to \(Self.longestAdvance) (ten years).")
            }
            advanced += seconds
            ringCourier()
            ringBatches()
        default: throw .notFound
        }
        return clock
    }

    var clock: JSON {
        let seconds = now()
        return [
            "now": .string(Timestamp.text(seconds)), "seconds": .integer(seconds), "advanced": .integer(advanced),
        ]
    }

    private static let longestAdvance = 3650 * 86_400
}
