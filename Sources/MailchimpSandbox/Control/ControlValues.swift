/// Reading the values that the control door's bodies hold, with an error that says what may be given.
extension World {
    static func share(_ value: JSON, _ name: String) throws(Problem) -> Double {
        guard let share = value.double, (0...1).contains(share) else {
            throw wrong("\(name) is a share, from 0 to 1.")
        }
        return share
    }

    static func milliseconds(_ value: JSON, _ name: String) throws(Problem) -> Int {
        try count(value, name, most: 3_600_000, of: "milliseconds")
    }

    static func count(_ value: JSON, _ name: String, most: Int = 1_000_000_000, of unit: String = "calls")
        throws(Problem) -> Int
    {
        guard let count = value.integer, (0...most).contains(count) else {
            throw wrong("\(name) is a number of \(unit), from 0 to \(most).")
        }
        return count
    }
}
