import ArgumentParser
import FoundationEssentials
import Postgres

/// The moment that somebody wrote as the value of an option: with its offset, or a day, which is its beginning in UTC.
func moment(_ text: String) throws -> Date {
    guard let moment = Date(rfc3339: text.contains("T") ? text : text + "T00:00:00Z") else {
        throw ValidationError("it is no moment; write it like 2030-01-31T12:00:00Z, or a day like 2030-01-31")
    }
    return moment
}
