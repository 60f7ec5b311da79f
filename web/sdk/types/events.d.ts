/**
 * @template {Record<string, any>} Events the value of each event, by its name
 */
export declare class Emitter<Events extends Record<string, any>> {
    #private;
    /**
     * Calls `listener` with the value of every event of this name. An exception in it is reported as uncaught.
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {(value: Events[Name]) => void} listener
     * @returns {() => void} removes the listener
     */
    on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void;
    /**
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {Events[Name]} value
     */
    emit<Name extends keyof Events>(name: Name, value: Events[Name]): void;
}
