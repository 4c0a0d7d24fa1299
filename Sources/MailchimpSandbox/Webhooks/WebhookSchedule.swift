/// When a delivery that failed is made again: a pause for each repeat.
public enum WebhookSchedule {
    /// Increasing pauses that end after 75 minutes.
    ///
    /// That span is documented; the steps within it are a guess.
    public static let faithful: [Duration] = [1, 2, 4, 8, 12, 18, 30].map { .seconds($0 * 60) }

    /// Over within seconds, for whoever waits for it.
    public static let hurried: [Duration] = [.milliseconds(500), .seconds(2), .seconds(10)]
}
